//! The names that mean a secret, and the words that tell a secret from a fact about one.

/// The default list, joined and in lower case. A name matches as a run of whole words, so `password` covers
/// `user_password` and `passwordHash`; what is written without a border (`userpassword`) stands here itself.
///
/// Left out on purpose: `pass` (boarding passes, test results), `key`, `hash`, `code`, `signature`, `sessionid`
/// (a conference has sessions too), `passport` alone. Add what your own data needs.
#[rustfmt::skip]
pub(super) const DEFAULT: &[&str] = &[
    // Passwords
    "password", "passwd", "pwd", "passphrase", "passcode", "passkey", "passwordhash", "passwordsalt",
    "passwordconfirm", "passwordconfirmation", "hashedpassword", "encryptedpassword", "adminpassword",
    "confirmpassword", "currentpassword", "dbpassword", "loginpassword", "newpassword", "oldpassword",
    "pgpassword", "rootpassword", "smtppassword", "userpassword", "authpass", "dbpass", "pgpass",
    "smtppass", "userpass", "userpwd", "mysqlpwd", "htpasswd", "salt",
    // Keys and secrets
    "secret", "clientsecret", "appsecret", "apisecret", "sharedsecret", "webhooksecret", "apikey",
    "appkey", "accesskey", "sharedaccesskey", "accountkey", "authkey", "privatekey", "privkey",
    "secretkey", "sharedkey", "signingkey", "encryptionkey", "decryptionkey", "masterkey", "hmackey",
    "aeskey", "sshkey", "sessionkey", "connectionstring", "seedphrase", "mnemonicphrase",
    "recoveryphrase",
    // Tokens and credentials
    "token", "accesstoken", "apitoken", "authtoken", "bearertoken", "csrftoken", "csrfmiddlewaretoken",
    "xsrftoken", "devicetoken", "idtoken", "pushtoken", "refreshtoken", "resettoken", "securitytoken",
    "sessiontoken", "usertoken", "jwt", "bearer", "csrf", "xsrf", "credential", "authorization",
    "authorisation", "authheader", "authorizationcode", "cookie", "setcookie", "sessioncookie",
    "phpsessid", "jsessionid", "xamzsignature", "xgoogsignature",
    // Second factors
    "otp", "otpcode", "otpsecret", "hotp", "totp", "mfa", "mfacode", "2fa", "tfacode", "onetimecode",
    "backupcode", "recoverycode", "recoverykey", "verificationcode", "activationcode", "resetcode",
    "securitycode", "securityanswer", "pin", "pincode", "pinhash", "pinblock",
    // Persons
    "ssn", "socialsecurity", "socialsecuritynumber", "socialinsurancenumber", "nationalid",
    "nationalidnumber", "nationalidentitynumber", "nationalinsurancenumber", "nationalidentifier",
    "personalidentitynumber", "aadhaar", "aadhar", "taxid", "taxnumber", "taxpayerid", "taxpayernumber",
    "taxidentificationnumber", "vatid", "itin", "passportno", "passportnumber", "passportid",
    "driverlicense", "driverslicense", "driverlicence", "driverslicence", "driverlicensenumber",
    "drivinglicence", "drivinglicense",
    // Payment
    "creditcard", "creditcardnumber", "debitcard", "debitcardnumber", "paymentcard", "cardnumber",
    "cardno", "cardpan", "ccnum", "ccnumber", "primaryaccountnumber", "cvv", "cvc", "cvn", "cardcvv",
    "cardcvc", "cardverification", "trackdata", "magstripe", "iban", "accountnumber", "accountno",
    "acctnumber", "acctno", "bankaccount", "bankaccountnumber", "routingnumber", "sortcode",
];

/// Last words of a name that says something about a secret without holding it: `password_changed_at`.
#[rustfmt::skip]
const ABOUT_LAST: &[&str] = &[
    "algorithm", "at", "attempts", "by", "consent", "count", "date", "days", "disabled", "enabled",
    "endpoint", "expiration", "expired", "expires", "expiry", "hours", "kind", "label", "length",
    "lifetime", "limit", "method", "minutes", "name", "on", "policy", "prefix", "required", "scope",
    "scopes", "seconds", "status", "strength", "ttl", "type", "until", "verified",
];

/// First words of such a name: `has_password`.
#[rustfmt::skip]
const ABOUT_FIRST: &[&str] = &[
    "allow", "allows", "can", "enable", "force", "had", "has", "is", "must", "needs", "require",
    "requires", "should",
];

/// Records of their own, which other tables refer to: `bank_account_id` is a foreign key.
const RECORDS: &[&str] = &["bankaccount", "credential", "creditcard", "debitcard", "paymentcard"];

/// Words beside `tokens` that make it a number of language-model tokens: `max_tokens`, `tokens_used`.
#[rustfmt::skip]
const COUNTED: &[&str] = &[
    "cached", "completion", "input", "max", "min", "num", "output", "per", "prompt", "reasoning",
    "remaining", "total", "used",
];

/// Whether the match of the sensitive `name` at `words[start..end]` only says something about a secret.
pub(super) fn is_about(words: &str, start: usize, end: usize, name: &str) -> bool {
    let before = words.get(..start).unwrap_or_default().trim_end_matches('_');
    let after = words.get(end..).unwrap_or_default().trim_start_matches('_');
    let first = before.split('_').next().unwrap_or_default();
    let last = after.rsplit('_').next().unwrap_or_default();
    let counted = || {
        let beside = [before.rsplit('_').next(), after.split('_').next()];
        words.get(start..end) == Some("tokens") && beside.iter().flatten().any(|word| COUNTED.contains(word))
    };
    ABOUT_LAST.contains(&last)
        || ABOUT_FIRST.contains(&first)
        || (matches!(last, "id" | "ids" | "uuid") && RECORDS.contains(&name))
        || counted()
}
