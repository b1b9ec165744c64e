//! The configuration file. Every mistake has its place in the text, and no message steers a terminal or repeats a secret.

#![no_main]

use std::collections::BTreeSet;

use fuzz_targets::assert_harmless;
use keyfob_daemon::fuzzing::settings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match settings::parse(data) {
        Ok(config) => {
            let names: BTreeSet<_> = config.accounts.iter().map(|account| &account.name).collect();
            assert_eq!(names.len(), config.accounts.len());
            assert!(config.default_account.as_ref().is_none_or(|name| names.contains(name)));
            for account in &config.accounts {
                assert!(!format!("{account:?}").contains("CANARY"));
                for warning in account.warnings() {
                    assert_harmless(&warning);
                }
                // Neither may end in a panic, whatever the settings are.
                account.fingerprint();
                account.issuer();
            }
        }
        Err(mistakes) => {
            let lines = String::from_utf8_lossy(data).split('\n').count();
            assert!(!mistakes.list.is_empty());
            for mistake in &mistakes.list {
                assert!((1..=lines + 1).contains(&mistake.line) && mistake.column >= 1, "{mistake:?}");
                assert_harmless(&mistake.to_string());
            }
            assert!(!mistakes.to_string().contains("CANARY"));
        }
    }
});
