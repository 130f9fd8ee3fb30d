//! User names and passwords (RFC 7617).

use std::sync::Arc;

use fortress_auth::basic::{BasicCredential, BasicError};
use fortress_model::Reason;

use super::{Caller, Place, Refusal, Shown, present};
use crate::{
    compile::{BasicPlan, IdentityPlan},
    forwarded::Scheme,
    guard::principal::Proof,
};

/// Judges the name and the password that a request shows.
pub(super) async fn judge(
    identity: &Arc<IdentityPlan>,
    plan: &BasicPlan,
    place: &Place,
    shown: &Shown<'_>,
) -> Result<Caller, Refusal> {
    let presented = present(place, shown)?;
    let is_basic = presented
        .scheme
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"));
    if !is_basic {
        return Err(Refusal::missing("a credential of another scheme"));
    }
    if shown.scheme == Scheme::Http {
        return Err(Refusal::invalid(
            "the password came in plain text: it is believed over TLS alone",
        ));
    }
    let refusal = |error: BasicError| Refusal::new(error.reason(), error.to_string());
    let credential = BasicCredential::parse(&presented.text).map_err(refusal)?;
    let user = match plan.users.remembered(&credential, shown.now) {
        Some(user) => user,
        None => {
            let (users, now) = (Arc::clone(&plan.users), shown.now);
            let checked = plan
                .hashers
                .run(move || users.verify(&credential, now))
                .await
                .map_err(|busy| Refusal::new(Reason::PasswordsExhausted, busy.to_string()))?;
            checked.map_err(refusal)?
        }
    };
    Ok(Caller {
        id: user,
        identity: Arc::clone(identity),
        proof: Proof::Password,
    })
}
