//! How sensitive data is: from public to top secret, by declaration or by the name and type of a field.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Sanitizer;
use crate::words;

/// How sensitive data is, from the least to the most. The order is that of the variants.
///
/// Written `public`, `internal`, `confidential`, `restricted`, `top_secret` everywhere: in the database, in JSON, in
/// the configuration.
///
/// ```
/// use audit_core::Classification;
///
/// assert!(Classification::Restricted > Classification::Confidential);
/// assert_eq!("TOP-SECRET".parse(), Ok(Classification::TopSecret));
/// assert_eq!(Classification::TopSecret.to_string(), "top_secret");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Classification {
    /// Anybody may know it. Never chosen automatically: to publish is a person's decision.
    Public,
    /// For those who work with the system. What nothing else is known about.
    #[default]
    Internal,
    /// Harm if it gets out: personal data, money.
    Confidential,
    /// Serious harm: credentials, card and identity numbers, health and other special categories of personal data.
    Restricted,
    /// The system falls if it gets out: private keys, master keys, seed phrases.
    TopSecret,
}

impl Classification {
    /// All of them, from the least to the most sensitive.
    pub const ALL: [Self; 5] =
        [Self::Public, Self::Internal, Self::Confidential, Self::Restricted, Self::TopSecret];

    /// The name as it is stored: `public` .. `top_secret`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Restricted => "restricted",
            Self::TopSecret => "top_secret",
        }
    }

    /// The level from 1 (public) to 5 (top secret).
    pub const fn level(self) -> u8 {
        match self {
            Self::Public => 1,
            Self::Internal => 2,
            Self::Confidential => 3,
            Self::Restricted => 4,
            Self::TopSecret => 5,
        }
    }
}

impl fmt::Display for Classification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text is no [`Classification`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a classification: expected `public`, `internal`, `confidential`, `restricted` or `top_secret` (in any case; also `top-secret`, `TopSecret`)"
)]
#[non_exhaustive]
pub struct ParseClassificationError;

impl FromStr for Classification {
    type Err = ParseClassificationError;

    /// Reads a name in any case; `top_secret`, `TOP-SECRET`, `top secret` and `TopSecret` are the same.
    ///
    /// # Errors
    ///
    /// [`ParseClassificationError`] if it is none of the five.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let same = |name: &str| {
            let letters = text.trim().bytes().filter(|b| !matches!(b, b'_' | b'-' | b' '));
            letters.map(|b| b.to_ascii_lowercase()).eq(name.bytes().filter(|b| *b != b'_'))
        };
        Self::ALL.into_iter().find(|class| same(class.as_str())).ok_or(ParseClassificationError)
    }
}

/// What a field holds, as far as its classification depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// Text of any length, also enumerations.
    Text,
    /// Integers and floating-point numbers.
    Number,
    /// Decimals and money types.
    Money,
    /// Truth values.
    Boolean,
    /// Dates, times and durations.
    Time,
    /// Bytes.
    Binary,
    /// JSON documents.
    Json,
    /// UUIDs.
    Uuid,
    /// Network addresses.
    Network,
    /// Everything else: arrays, vectors, types of the user's own.
    Other,
}

#[rustfmt::skip]
const KEYS: &[&str] = &[
    "decryptionkey", "encryptionkey", "masterkey", "mnemonicphrase", "privatekey", "privkey",
    "recoveryphrase", "rootkey", "seedphrase", "signingkey",
];

#[rustfmt::skip]
const SPECIAL: &[&str] = &[
    // Health
    "allergy", "allergies", "bloodgroup", "bloodtype", "diagnosis", "diagnoses", "disability",
    "disabilities", "disease", "hiv", "healthcondition", "healthinsurance", "healthrecord",
    "healthstatus", "icd", "illness", "immunization", "labresult", "medical", "medicalrecordnumber",
    "medication", "mentalhealth", "mrn", "nhsnumber", "pregnancy", "pregnant", "prescription",
    "symptom", "vaccination", "vaccinated",
    // Biometrics and genetics
    "biometric", "dna", "facetemplate", "fingerprint", "genetic", "genome", "irisscan", "voiceprint",
    // Belief, origin, life, law
    "caste", "conviction", "criminal", "criminalrecord", "ethnicity", "ethnicorigin",
    "politicalopinion", "politicalparty", "religion", "religious", "sexlife", "sexualorientation",
    "tradeunion", "unionmember", "unionmembership",
];

const LIFE_DATES: &[&str] =
    &["birth", "birthdate", "birthday", "dateofbirth", "dateofdeath", "deathdate", "dob"];

#[rustfmt::skip]
const PERSONAL: &[&str] = &[
    // Reaching somebody
    "email", "emailaddress", "mail", "mailaddress", "phone", "phonenumber", "telephone", "mobile",
    "mobilenumber", "cellphone", "fax", "address", "addressline", "street", "housenumber", "postcode",
    "postalcode", "zip", "zipcode",
    // Being somebody
    "firstname", "lastname", "middlename", "fullname", "familyname", "givenname", "surname",
    "maidenname", "birthname", "birthplace", "placeofbirth", "displayname", "legalname", "realname",
    "username", "loginname", "customername", "employeename", "patientname", "personname", "contactname",
    "cardholder", "accountholder", "age", "gender", "sex", "nationality", "citizenship",
    "maritalstatus", "photo", "avatar", "signature",
    // Being somewhere
    "ip", "ipaddress", "ipaddr", "macaddress", "latitude", "longitude", "geolocation", "gps",
    "useragent", "deviceid", "imei",
    // Money
    "amount", "balance", "bonus", "budget", "commission", "compensation", "cost", "creditlimit",
    "creditscore", "debt", "discount", "income", "invoicetotal", "loan", "networth", "payment",
    "pension", "price", "profit", "revenue", "salary", "wage", "turnover", "bic", "swift",
    "contractvalue",
];

/// The classification of a field by its name and kind. What applies first, counts:
///
/// | name | kind | classification |
/// |---|---|---|
/// | private, signing, encryption and master keys, seed phrases | all but booleans and times | top secret |
/// | sensitive by [`Sanitizer::is_sensitive_name`]: passwords, tokens, card, account and identity numbers | all but booleans and times | restricted |
/// | special categories of personal data: health, biometrics, religion, origin, politics, sexual life, convictions | all | restricted |
/// | dates of birth and death | all but booleans | confidential |
/// | e-mail, phone, address, names of persons, IP, place, gender; prices, salaries and other money | all but booleans and times | confidential |
/// | any | [`Money`](FieldKind::Money), [`Network`](FieldKind::Network) | confidential |
/// | any other: ids, flags, times, states, descriptions | all others | internal |
///
/// Names are compared by words, as [`Sanitizer::is_sensitive_name`] does. A number or UUID whose name ends in `id`
/// is a reference: the names in it say what it refers to (`address_id` is internal), unless the name itself is one
/// that says id (`tax_id`). Nothing is public by itself; say so where it is. The opinion of this function is a
/// default that attributes and configuration replace.
///
/// ```
/// use audit_core::{Classification, FieldKind, classify_field};
///
/// assert_eq!(classify_field("email", FieldKind::Text), Classification::Confidential);
/// assert_eq!(classify_field("email_verified_at", FieldKind::Time), Classification::Internal);
/// assert_eq!(classify_field("passwordHash", FieldKind::Text), Classification::Restricted);
/// ```
pub fn classify_field(name: &str, kind: FieldKind) -> Classification {
    let words = words::split(name);
    let reference = matches!(kind, FieldKind::Number | FieldKind::Uuid) && words::last(&words) == "id";
    let says = |names: &[&str]| {
        words::starts(&words).any(|start| {
            let end = names.iter().find_map(|name| words::run_end(&words, start, name));
            end.is_some_and(|end| !reference || end == words.len())
        })
    };
    // A truth value or a moment can't hold a secret, only say that there is one.
    let holds = !matches!(kind, FieldKind::Boolean | FieldKind::Time);
    if holds && says(KEYS) {
        Classification::TopSecret
    } else if (holds && Sanitizer::default().is_sensitive_name(name)) || says(SPECIAL) {
        Classification::Restricted
    } else if (kind != FieldKind::Boolean && says(LIFE_DATES))
        || (holds && says(PERSONAL))
        || matches!(kind, FieldKind::Money | FieldKind::Network)
    {
        Classification::Confidential
    } else {
        Classification::Internal
    }
}

/// The classification of several fields together: that of the most sensitive one; of none, internal.
pub fn classify(fields: impl Iterator<Item = Classification>) -> Classification {
    fields.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn r7_order_levels_and_names_agree() {
        for (index, class) in Classification::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(class.level()), index + 1);
            assert_eq!(class.as_str().parse(), Ok(class));
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
            assert_eq!(serde_json::from_value::<Classification>(class.as_str().into()).unwrap(), class);
        }
        assert!(Classification::ALL.is_sorted());
        assert_eq!(Classification::default(), Classification::Internal);
        assert_eq!(format!("{:>10}|", Classification::Public), "    public|");
    }

    #[test]
    fn r7_accepted_spellings() {
        for text in ["TOP_SECRET", "top-secret", "TopSecret", "top secret", " topsecret "] {
            assert_eq!(text.parse(), Ok(Classification::TopSecret), "{text}");
        }
        assert_eq!("PUBLIC".parse(), Ok(Classification::Public));
        for text in ["", "secret", "top", "publik", "5"] {
            let error = text.parse::<Classification>().unwrap_err();
            assert!(error.to_string().contains("top_secret"));
        }
    }

    #[test]
    fn r7_fields() {
        use Classification::{Confidential, Internal, Restricted, TopSecret};
        use FieldKind::{Binary, Boolean, Json, Money, Network, Number, Other, Text, Time, Uuid};
        for (name, kind, class) in [
            ("id", Number, Internal),
            ("id", Uuid, Internal),
            ("customer_id", Uuid, Internal),
            ("is_active", Boolean, Internal),
            ("created_at", Time, Internal),
            ("title", Text, Internal),
            ("status", Text, Internal),
            ("quantity", Number, Internal),
            ("settings", Json, Internal),
            ("blob", Binary, Internal),
            ("storage", Text, Internal),
            ("page", Number, Internal),
            ("total", Money, Confidential),
            ("balance", Number, Confidential),
            ("employeeSalary", Money, Confidential),
            ("email", Text, Confidential),
            ("workEmails", Other, Confidential),
            ("email_verified", Boolean, Internal),
            ("email_verified_at", Time, Internal),
            ("phone_number", Text, Confidential),
            ("billing_addresses", Json, Confidential),
            ("address_id", Uuid, Internal),
            ("address_id", Text, Confidential),
            ("date_of_birth", Time, Confidential),
            ("birthDate", Text, Confidential),
            ("last_name", Text, Confidential),
            ("client", Network, Confidential),
            ("ip_address", Text, Confidential),
            ("ssn", Text, Restricted),
            ("tax_id", Number, Restricted),
            ("credit_card_number", Text, Restricted),
            ("credit_card_id", Number, Internal),
            ("password_hash", Text, Restricted),
            ("reset_token", Uuid, Restricted),
            ("password_changed_at", Time, Internal),
            ("diagnosis", Text, Restricted),
            ("is_pregnant", Boolean, Restricted),
            ("religion", Text, Restricted),
            ("medical_record_id", Uuid, Internal),
            ("fingerprint", Binary, Restricted),
            ("private_key", Text, TopSecret),
            ("signingKeyPem", Binary, TopSecret),
            ("seed_phrase", Text, TopSecret),
        ] {
            assert_eq!(classify_field(name, kind), class, "{name} {kind:?}");
        }
    }

    #[test]
    fn r7_the_highest_counts() {
        use Classification::{Internal, Restricted};
        assert_eq!(classify([Internal, Restricted, Internal].into_iter()), Restricted);
        assert_eq!(classify([Classification::Public].into_iter()), Classification::Public);
        assert_eq!(classify(std::iter::empty()), Internal);
    }

    proptest! {
        #[test]
        fn r7_any_text_is_answered(text in any::<String>()) {
            let _ = text.parse::<Classification>();
            let _ = classify_field(&text, FieldKind::Text);
        }
    }
}
