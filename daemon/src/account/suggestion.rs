//! The nearest known name to one that nobody knows: for account names here, for keys and values in the configuration.
//!
//! A far-fetched suggestion is worse than none, so what is near is a matter of length: one letter in three may differ.

/// The longest name that is compared; no known name comes near it, and the comparison costs time by its length.
const LONGEST: usize = 64;

/// Returns the known name that `asked` is a slip of, if one is near enough.
pub(crate) fn nearest<'k>(asked: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if asked.len() > LONGEST {
        return None;
    }
    let asked = plain(asked);
    let affordable = asked.chars().count().max(3) / 3;
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(&asked, &plain(name)), name))
        .filter(|(distance, _)| *distance <= affordable)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Returns a name without what people mix up: capitals, and `-` for `_`.
fn plain(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_nonsense_finds_none() {
        let known = ["issuer", "client_id", "client_secret", "scopes", "device_code"];
        for (asked, found) in [
            ("isuer", Some("issuer")),
            ("isseur", Some("issuer")),
            ("clientid", Some("client_id")),
            ("client-id", Some("client_id")),
            ("Client_ID", Some("client_id")),
            ("client_secert", Some("client_secret")),
            ("scope", Some("scopes")),
            ("device-code", Some("device_code")),
            ("colour", None),
            ("", None),
            ("x", None),
            ("\u{1f511}\u{1f511}\u{1f511}", None),
            (&"issuer".repeat(100_000), None),
        ] {
            assert_eq!(nearest(asked, known), found, "{asked:.20}");
        }
    }

    #[test]
    fn the_nearest_of_several_near_names_is_found() {
        assert_eq!(nearest("prod-2", ["prod-1", "prod-22", "prod-2"]), Some("prod-2"));
    }
}
