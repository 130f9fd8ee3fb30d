//! The words of SecLang: every variable, operator and transformation that ModSecurity documents,
//! each once. The parser, the suggestions and the manual read these tables.

macro_rules! words {
    ($(#[$meta:meta])* $kind:ident { $( $(#[doc = $doc:literal])+ $name:ident = $word:literal $(| $alias:literal)*; )+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum $kind { $( $(#[doc = $doc])+ $name, )+ }

        impl $kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[ $( Self::$name ),+ ];

            /// The word as it is documented.
            pub fn word(self) -> &'static str { match self { $( Self::$name => $word ),+ } }

            /// The one that is written so, without regard to ASCII case.
            pub fn from_word(word: &str) -> Option<Self> {
                $( if word.eq_ignore_ascii_case($word) $(|| word.eq_ignore_ascii_case($alias))* { return Some(Self::$name); } )+
                None
            }
        }
    };
}

words! {
    /// What a rule can look at.
    Variable {
        /// Query and body arguments.
        Args = "ARGS";
        /// Bytes of all argument names and values together.
        ArgsCombinedSize = "ARGS_COMBINED_SIZE";
        /// Query arguments.
        ArgsGet = "ARGS_GET";
        /// Names of the query arguments.
        ArgsGetNames = "ARGS_GET_NAMES";
        /// Names of all arguments.
        ArgsNames = "ARGS_NAMES";
        /// Body arguments.
        ArgsPost = "ARGS_POST";
        /// Names of the body arguments.
        ArgsPostNames = "ARGS_POST_NAMES";
        /// The scheme of `Authorization`.
        AuthType = "AUTH_TYPE";
        /// Milliseconds since the transaction began.
        Duration = "DURATION";
        /// The environment: what `setenv` put there.
        Env = "ENV";
        /// File names as clients sent them, by form field.
        Files = "FILES";
        /// Bytes of all files together.
        FilesCombinedSize = "FILES_COMBINED_SIZE";
        /// Form fields that carry files.
        FilesNames = "FILES_NAMES";
        /// Bytes of each file.
        FilesSizes = "FILES_SIZES";
        /// Contents of the files.
        FilesTmpContent = "FILES_TMP_CONTENT";
        /// Temporary names of files: none are made, so it is empty.
        FilesTmpNames = "FILES_TMPNAMES" | "FILES_TMP_NAMES";
        /// The whole request as it came.
        FullRequest = "FULL_REQUEST";
        /// Its length.
        FullRequestLength = "FULL_REQUEST_LENGTH";
        /// Where the client is: no database is read, so it is empty.
        Geo = "GEO";
        /// The collection `GLOBAL`.
        Global = "GLOBAL";
        /// The highest severity that has matched.
        HighestSeverity = "HIGHEST_SEVERITY";
        /// 1 if the body was larger than its limit.
        InboundDataError = "INBOUND_DATA_ERROR";
        /// The collection `IP`.
        Ip = "IP";
        /// The value that matched last.
        MatchedVar = "MATCHED_VAR";
        /// Its name.
        MatchedVarName = "MATCHED_VAR_NAME";
        /// The values that matched in this chain.
        MatchedVars = "MATCHED_VARS";
        /// Their names.
        MatchedVarsNames = "MATCHED_VARS_NAMES";
        /// ModSecurity's build number.
        ModsecBuild = "MODSEC_BUILD";
        /// 1 if a multipart boundary is quoted.
        MultipartBoundaryQuoted = "MULTIPART_BOUNDARY_QUOTED";
        /// 1 if a multipart boundary has white space.
        MultipartBoundaryWhitespace = "MULTIPART_BOUNDARY_WHITESPACE";
        /// 1 if lines end in CRLF and in LF alone, mixed.
        MultipartCrlfLfLines = "MULTIPART_CRLF_LF_LINES";
        /// 1 if there is data after the last boundary.
        MultipartDataAfter = "MULTIPART_DATA_AFTER";
        /// 1 if there is data before the first boundary.
        MultipartDataBefore = "MULTIPART_DATA_BEFORE";
        /// 1 if there were more files than allowed.
        MultipartFileLimitExceeded = "MULTIPART_FILE_LIMIT_EXCEEDED";
        /// The file name of the last file part.
        MultipartFilename = "MULTIPART_FILENAME";
        /// 1 if a header is folded.
        MultipartHeaderFolding = "MULTIPART_HEADER_FOLDING";
        /// 1 if a part header is invalid.
        MultipartInvalidHeaderFolding = "MULTIPART_INVALID_HEADER_FOLDING";
        /// 1 if a part is invalid.
        MultipartInvalidPart = "MULTIPART_INVALID_PART";
        /// 1 if quoting is invalid.
        MultipartInvalidQuoting = "MULTIPART_INVALID_QUOTING";
        /// 1 if a line ends in LF alone.
        MultipartLfLine = "MULTIPART_LF_LINE";
        /// 1 if a semicolon is missing.
        MultipartMissingSemicolon = "MULTIPART_MISSING_SEMICOLON" | "MULTIPART_SEMICOLON_MISSING";
        /// The field name of the last part.
        MultipartName = "MULTIPART_NAME";
        /// Header lines of the parts, by field name.
        MultipartPartHeaders = "MULTIPART_PART_HEADERS";
        /// 1 if any of the multipart flags is 1.
        MultipartStrictError = "MULTIPART_STRICT_ERROR";
        /// 1 if a boundary looks unmatched.
        MultipartUnmatchedBoundary = "MULTIPART_UNMATCHED_BOUNDARY";
        /// 1 if the response was larger than its limit.
        OutboundDataError = "OUTBOUND_DATA_ERROR";
        /// Path information: what follows the script; empty here.
        PathInfo = "PATH_INFO";
        /// The query, undecoded.
        QueryString = "QUERY_STRING";
        /// The client's address.
        RemoteAddr = "REMOTE_ADDR";
        /// The client's host name: the address.
        RemoteHost = "REMOTE_HOST";
        /// The client's port.
        RemotePort = "REMOTE_PORT";
        /// The user of `Authorization: Basic`.
        RemoteUser = "REMOTE_USER";
        /// 1 if the body could not be processed.
        ReqbodyError = "REQBODY_ERROR";
        /// Why.
        ReqbodyErrorMsg = "REQBODY_ERROR_MSG";
        /// The body processor in use.
        ReqbodyProcessor = "REQBODY_PROCESSOR";
        /// 1 if the body processor failed.
        ReqbodyProcessorError = "REQBODY_PROCESSOR_ERROR";
        /// Why.
        ReqbodyProcessorErrorMsg = "REQBODY_PROCESSOR_ERROR_MSG";
        /// What follows the last slash of the path.
        RequestBasename = "REQUEST_BASENAME";
        /// The body.
        RequestBody = "REQUEST_BODY";
        /// Its length.
        RequestBodyLength = "REQUEST_BODY_LENGTH";
        /// Cookies.
        RequestCookies = "REQUEST_COOKIES";
        /// Names of cookies.
        RequestCookiesNames = "REQUEST_COOKIES_NAMES";
        /// The path, without the query.
        RequestFilename = "REQUEST_FILENAME";
        /// Header fields.
        RequestHeaders = "REQUEST_HEADERS";
        /// Their names.
        RequestHeadersNames = "REQUEST_HEADERS_NAMES";
        /// The request line.
        RequestLine = "REQUEST_LINE";
        /// The method.
        RequestMethod = "REQUEST_METHOD";
        /// `HTTP/1.1` and the like.
        RequestProtocol = "REQUEST_PROTOCOL";
        /// Path and query, without scheme and host.
        RequestUri = "REQUEST_URI";
        /// The request target as it came.
        RequestUriRaw = "REQUEST_URI_RAW";
        /// The collection `RESOURCE`.
        Resource = "RESOURCE";
        /// XML or JSON arguments of the response: none are made.
        ResponseArgs = "RESPONSE_ARGS";
        /// The response's body.
        ResponseBody = "RESPONSE_BODY";
        /// Its length.
        ResponseContentLength = "RESPONSE_CONTENT_LENGTH";
        /// Its media type.
        ResponseContentType = "RESPONSE_CONTENT_TYPE";
        /// The response's header fields.
        ResponseHeaders = "RESPONSE_HEADERS";
        /// Their names.
        ResponseHeadersNames = "RESPONSE_HEADERS_NAMES";
        /// The response's protocol.
        ResponseProtocol = "RESPONSE_PROTOCOL";
        /// Its status.
        ResponseStatus = "RESPONSE_STATUS";
        /// What the rule itself says: `id`, `msg`, `severity`, `logdata`, `rev`.
        Rule = "RULE";
        /// The server's address.
        ServerAddr = "SERVER_ADDR";
        /// The server's name.
        ServerName = "SERVER_NAME";
        /// The server's port.
        ServerPort = "SERVER_PORT";
        /// The collection `SESSION`.
        Session = "SESSION";
        /// Its key.
        SessionId = "SESSIONID";
        /// The reason phrase of the status.
        StatusLine = "STATUS_LINE";
        /// Seconds since 1970.
        Time = "TIME";
        /// The day of the month.
        TimeDay = "TIME_DAY";
        /// Seconds since 1970.
        TimeEpoch = "TIME_EPOCH";
        /// The hour.
        TimeHour = "TIME_HOUR";
        /// The minute.
        TimeMin = "TIME_MIN";
        /// The month, from 1.
        TimeMon = "TIME_MON";
        /// The second.
        TimeSec = "TIME_SEC";
        /// The day of the week, from Sunday, 0.
        TimeWday = "TIME_WDAY";
        /// The year.
        TimeYear = "TIME_YEAR";
        /// The transaction's own collection.
        Tx = "TX";
        /// The transaction's identifier.
        UniqueId = "UNIQUE_ID";
        /// 1 if url decoding met an invalid encoding.
        UrlencodedError = "URLENCODED_ERROR";
        /// The collection `USER`.
        User = "USER";
        /// Its key.
        UserId = "USERID";
        /// The application's name.
        WebAppId = "WEBAPPID";
        /// The XML document: `XML:/*` its text, `XML://@*` its attributes.
        Xml = "XML";
    }
}

words! {
    /// What a rule can ask.
    Operator {
        /// The value begins with the argument.
        BeginsWith = "beginsWith";
        /// The value contains the argument.
        Contains = "contains";
        /// The value contains the argument between word boundaries.
        ContainsWord = "containsWord";
        /// libinjection finds SQL.
        DetectSqli = "detectSQLi";
        /// libinjection finds script.
        DetectXss = "detectXSS";
        /// The value ends with the argument.
        EndsWith = "endsWith";
        /// Equal as numbers.
        Eq = "eq";
        /// Greater or equal as numbers.
        Ge = "ge";
        /// Greater as numbers.
        Gt = "gt";
        /// The address is in one of the networks.
        IpMatch = "ipMatch";
        /// The same, from a file.
        IpMatchFromFile = "ipMatchFromFile" | "ipMatchF";
        /// Less or equal as numbers.
        Le = "le";
        /// Less as numbers.
        Lt = "lt";
        /// Never matches.
        NoMatch = "noMatch";
        /// The value contains one of the phrases, without regard to ASCII case.
        Pm = "pm";
        /// The same, from a file.
        PmFromFile = "pmFromFile" | "pmf";
        /// The regular expression finds the value.
        Rx = "rx";
        /// The same, every match.
        RxGlobal = "rxGlobal";
        /// The value is the argument.
        StrEq = "streq";
        /// The value contains the argument (`strmatch`).
        StrMatch = "strmatch";
        /// Always matches.
        UnconditionalMatch = "unconditionalMatch";
        /// A byte is outside of the ranges.
        ValidateByteRange = "validateByteRange";
        /// A url encoding is invalid.
        ValidateUrlEncoding = "validateUrlEncoding";
        /// The value is not UTF-8.
        ValidateUtf8Encoding = "validateUtf8Encoding";
        /// A payment card number that passes Luhn's check.
        VerifyCc = "verifyCC";
        /// A Brazilian CPF number.
        VerifyCpf = "verifyCPF";
        /// A United States social security number.
        VerifySsn = "verifySSN";
        /// A Chilean SVNR number.
        VerifySvnr = "verifySVNR";
        /// The argument contains the value.
        Within = "within";
    }
}

words! {
    /// What is done to a value before it is looked at.
    Transformation {
        /// Base64, strictly.
        Base64Decode = "base64Decode";
        /// Base64, skipping what is none.
        Base64DecodeExt = "base64DecodeExt";
        /// To base64.
        Base64Encode = "base64Encode";
        /// Evasions of command lines.
        CmdLine = "cmdLine";
        /// White space to single spaces.
        CompressWhitespace = "compressWhitespace";
        /// CSS escapes.
        CssDecode = "cssDecode";
        /// ANSI C escapes.
        EscapeSeqDecode = "escapeSeqDecode";
        /// From hexadecimal.
        HexDecode = "hexDecode";
        /// To hexadecimal.
        HexEncode = "hexEncode";
        /// HTML entities.
        HtmlEntityDecode = "htmlEntityDecode";
        /// JavaScript escapes.
        JsDecode = "jsDecode";
        /// The length in bytes, in decimal.
        Length = "length";
        /// ASCII to lower case.
        Lowercase = "lowercase";
        /// MD5, raw.
        Md5 = "md5";
        /// `.` and `..` segments, repeated slashes.
        NormalizePath = "normalizePath" | "normalisePath";
        /// The same after backslashes became slashes.
        NormalizePathWin = "normalizePathWin" | "normalisePathWin";
        /// Even parity to the high bit.
        ParityEven7Bit = "parityEven7bit";
        /// Odd parity to the high bit.
        ParityOdd7Bit = "parityOdd7bit";
        /// The high bit to zero.
        ParityZero7Bit = "parityZero7bit";
        /// Whole comments away.
        RemoveComments = "removeComments";
        /// Characters that make comments away.
        RemoveCommentsChar = "removeCommentsChar";
        /// NUL away.
        RemoveNulls = "removeNulls";
        /// White space away.
        RemoveWhitespace = "removeWhitespace";
        /// Comments to single spaces.
        ReplaceComments = "replaceComments";
        /// NUL to space.
        ReplaceNulls = "replaceNulls";
        /// SHA-1, raw.
        Sha1 = "sha1";
        /// MySQL's hexadecimal literals.
        SqlHexDecode = "sqlHexDecode";
        /// White space at both ends away.
        Trim = "trim";
        /// At the beginning.
        TrimLeft = "trimLeft";
        /// At the end.
        TrimRight = "trimRight";
        /// ASCII to upper case.
        Uppercase = "uppercase";
        /// Percent encoding and `+`.
        UrlDecode = "urlDecode";
        /// The same, with `%uXXXX`.
        UrlDecodeUni = "urlDecodeUni";
        /// To percent encoding.
        UrlEncode = "urlEncode";
        /// UTF-8 to `%uXXXX`.
        Utf8ToUnicode = "utf8toUnicode";
    }
}
