//! SeaORM entities of the audit tables.

pub mod audit_log;
pub mod audit_query;

use audit_core::Error;

fn parse_list(column: &str, text: Option<&str>) -> Result<Vec<String>, Error> {
    text.map_or_else(
        || Ok(Vec::new()),
        |text| {
            serde_json::from_str(text)
                .map_err(|_| Error::Format(format!("`{column}` isn't a JSON list of texts")))
        },
    )
}

fn parse_digest(bytes: Option<Vec<u8>>) -> Result<Option<[u8; 32]>, Error> {
    let digest = bytes.map(|bytes| bytes.try_into()).transpose();
    digest.map_err(|_| Error::Format("`integrity_hash` hasn't 32 bytes".into()))
}
