//! What can be tried. This table is the vocabulary of `fortress attack`: its report, its `--json`
//! and its advice read it.

use fortress_model::Risk;

macro_rules! kinds {
    ($( $(#[doc = $doc:literal])+ $name:ident = $id:literal, $risk:ident, $remedy:literal; )+) => {
        /// What is tried.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Kind { $( $(#[doc = $doc])+ $name, )+ }

        impl Kind {
            /// All, in the order of the report.
            pub const ALL: &'static [Self] = &[ $( Self::$name ),+ ];

            /// Its stable name.
            pub fn id(self) -> &'static str { match self { $( Self::$name => $id ),+ } }
            /// The risk that it belongs to.
            pub fn risk(self) -> Risk { match self { $( Self::$name => Risk::$risk ),+ } }
            /// The key of the configuration, or of the description, that stops it.
            pub fn remedy(self) -> &'static str { match self { $( Self::$name => $remedy ),+ } }
        }
    };
}

kinds! {
    /// A request as it should be.
    Valid = "valid", Api8, "compare the description with what the API really takes and answers; after 429 wait, since limits and defences remember an earlier run";

    /// A protected operation without a credential.
    TokenMissing = "token.missing", Api2, "`security` of the operation, without `public: true`";
    /// Something that is no token, or stands where no token belongs.
    TokenGarbage = "token.garbage", Api2, "`identity`: an entry for the operation's security scheme";
    /// A token without a signature (`alg: none`).
    TokenUnsigned = "token.unsigned", Api2, "`identity.NAME.jwks`: the issuer's keys";
    /// A token whose signature does not hold.
    TokenForged = "token.forged", Api2, "`identity.NAME.jwks`: the issuer's keys, and no others";
    /// A token signed by a public key that is used as a shared secret.
    TokenConfused = "token.confused", Api2, "`identity.NAME.algorithms`: asymmetric ones only";
    /// A token out of its time.
    TokenExpired = "token.expired", Api2, "`identity.NAME.leeway`: smaller";
    /// A genuine token that was issued by or for someone else.
    TokenForeign = "token.foreign", Api2, "`identity.NAME.issuer` and `.audience`";
    /// A genuine token that is bound to a key or certificate which the thief does not have.
    TokenStolen = "token.stolen", Api2, "`identity.NAME.dpop` and `.certificate_bound`: not `off`";
    /// One password after the other for the same account.
    LoginGuessed = "login.guessed", Api2, "operations: { NAME: { login: { account: body.username } } }";
    /// Accounts that others lost, each tried once.
    LoginStuffed = "login.stuffed", Api2, "operations: { NAME: { login: { account: body.username } } }";
    /// A header by which clients name themselves somebody else.
    IdentitySpoofed = "header.identity", Api2, "mode: enforce";

    /// Ids one after the other, of objects that are not there.
    ObjectWalked = "object.walked", Api1, "detect: { enumeration: {} }";

    /// A query parameter that nobody declared.
    ParameterUndeclared = "parameter.undeclared", Api3, "requests: { undeclared: refuse }";
    /// A property that nobody declared.
    PropertyUndeclared = "property.undeclared", Api3, "requests: { undeclared: refuse }";
    /// A property that only the server may set.
    PropertyReadOnly = "property.read_only", Api3, "`readOnly: true` in the description";
    /// Properties of the answer that nobody declared.
    ResponseLeak = "response.leak", Api3, "responses: { undeclared: drop }";

    /// More than the description's own bounds.
    InputTooLarge = "input.too_large", Api4, "`maximum`, `maxLength`, `maxItems` in the description";
    /// A body that is larger, deeper or wider than any should be.
    BodyTooLarge = "body.too_large", Api4, "bounds: { body: 1MiB, depth: 32, items: 10000 }";
    /// A small body that decodes to a large one.
    BodyBomb = "body.bomb", Api4, "bounds: { expansion: 100 }";
    /// A head that is larger than any should be.
    HeadTooLarge = "head.too_large", Api4, "bounds: { head: 32KiB, headers: 100, uri: 8KiB }";

    /// A head that comes so slowly that it never ends.
    HeadSlow = "head.slow", Api4, "bounds: { head_time: 10s }";
    /// A body that comes so slowly that it never ends.
    BodySlow = "body.slow", Api4, "bounds: { body_rate: 1KiB/s }";
    /// Hundreds of connections of one client.
    ConnectionFlood = "connections.flood", Api4, "bounds: { connections_per_client: 256, connection_rate: 1000/s }";
    /// A limit that is dodged by claiming other addresses.
    LimitDodged = "limit.dodged", Api4, "`trusted_proxies`: only real ones";

    /// A genuine token without the scope that the operation demands.
    ScopeMissing = "scope.missing", Api5, "`security` of the operation with its scopes, or `require: { scope: … }`";
    /// A header that asks for another method or path than the request line.
    MethodOverride = "header.override", Api5, "mode: enforce";

    /// A value that is not what the description says.
    InputInvalid = "input.invalid", Api8, "`type`, `format`, `pattern`, `enum` in the description";
    /// A required parameter or property is missing.
    InputMissing = "input.missing", Api8, "`required` in the description";
    /// The same parameter or key twice.
    InputDuplicate = "input.duplicate", Api8, "mode: enforce";
    /// A body that parsers read differently.
    BodyMalformed = "body.malformed", Api8, "mode: enforce";
    /// A body of another type than declared, or encoded in another way.
    BodyType = "body.type", Api8, "`content` of the request body in the description";
    /// A message whose end two parsers would see at different places.
    Framing = "framing", Api8, "mode: enforce";
    /// A path that two parsers would read differently.
    PathTrick = "path.trick", Api8, "mode: enforce";
    /// A header that only a proxy may set, or that must not travel on.
    HeaderSpoofed = "header.spoofed", Api8, "`trusted_proxies`: only real ones";

    /// SQL in a free text.
    InjectedSql = "injected.sql", Api8, "waf: { mode: enforce }";
    /// Script for a browser in a free text.
    InjectedScript = "injected.script", Api8, "waf: { mode: enforce }";
    /// A shell's command in a free text.
    InjectedCommand = "injected.command", Api8, "waf: { mode: enforce }";
    /// The way to a file of the machine in a free text.
    InjectedPath = "injected.path", Api8, "waf: { mode: enforce }";
    /// A query of a directory or of a document store in a free text.
    InjectedQuery = "injected.query", Api8, "waf: { mode: enforce }";
    /// An expression that a logger or a template engine evaluates.
    InjectedExpression = "injected.expression", Api8, "waf: { mode: enforce }";
    /// PHP or Java in a free text.
    InjectedCode = "injected.code", Api8, "waf: { mode: enforce }";
    /// An address in a free text that only the server can reach.
    InjectedAddress = "injected.address", Api8, "waf: { mode: enforce }";
    /// A header field in a free text.
    InjectedField = "injected.field", Api8, "waf: { mode: enforce }";

    /// A path that nobody declared.
    PathUndeclared = "path.undeclared", Api9, "spec: the description (with `spec: none` every path passes)";
    /// A method that nobody declared.
    MethodUndeclared = "method.undeclared", Api9, "spec: the description (with `spec: none` every method passes)";
}

impl Kind {
    /// The first line of its doc comment is too long for a table; this is its id in words.
    pub fn words(self) -> String {
        self.id().replace(['.', '_'], " ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique() {
        let mut ids: Vec<_> = Kind::ALL.iter().map(|kind| kind.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Kind::ALL.len());
    }
}
