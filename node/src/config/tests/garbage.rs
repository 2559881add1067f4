//! Whatever stands in the files or in the environment: an error that names the key, or a
//! configuration; never a panic.

use proptest::{prelude::*, sample::select};

use super::*;
use crate::config::{
    identity::{self, Identity},
    keys::SECTIONS,
};

/// Every key of the table: path with dots, variable, whether it is secret.
fn keys() -> Vec<(String, String, bool)> {
    let mut found = Vec::new();
    for section in SECTIONS {
        for key in section.keys {
            let path = format!("{}.{}", section.path, key.name);
            found.push((path, key.variable(section.env), key.is_secret()));
        }
    }
    found
}

/// A value at a path, the objects on the way made where they are missing.
fn put(files: &Files, path: &str, value: Value) {
    let mut root: Value = serde_json::from_str(&files.text("service.json")).unwrap();
    let mut at = &mut root;
    for name in path.split('.') {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[name];
    }
    *at = value;
    files.put("service.json", &root.to_string());
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "/?[a-z0-9]{0,5}/[a-z0-9.:]{0,9}/tcp/[0-9]{0,6}".prop_map(Value::from),
        "-?[0-9]{0,20}(ns|us|ms|s|m|h)?".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((".{0,4}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// The sections that a folder with an IPFS node of its own has.
fn in_use(path: &str) -> bool {
    !path.starts_with("ipfs_connector.embedded") && !path.starts_with("api.pinsvcapi")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_value_of_any_kind_is_taken_or_refused_by_its_key(
        (path, _, _) in select(keys()), value in values(),
    ) {
        prop_assume!(in_use(&path));
        let files = Files::fresh();
        put(&files, &path, value);
        if let Err(error) = files.load(&none()) {
            let name = path.rsplit('.').next().unwrap();
            // The two factors are judged together.
            let named = error.contains(name) || error.contains("replication_factor");
            prop_assert!(named, "{path}: {error}");
        }
    }

    #[test]
    fn a_variable_of_any_text_is_taken_or_refused_by_its_name(
        (path, variable, secret) in select(keys()), text in "[ -~é]{0,20}",
    ) {
        let files = Files::fresh();
        if let Err(error) = files.load(&vars(&[(&variable, &text)])) {
            // The two factors, the two files of TLS and the keys of a host are judged together.
            let named = error.contains(&variable)
                || error.contains("replication_factor")
                || error.contains("TLS needs both")
                || error.contains("a libp2p host of the API's own needs");
            prop_assert!(named, "{path}: {error}");
            prop_assert!(!secret || text.len() < 4 || !error.contains(&text), "{error}");
        }
    }

    #[test]
    fn a_cut_or_changed_file_never_panics(at in 0usize..6000, byte in any::<u8>(), cut in 0usize..9000) {
        let files = Files::fresh();
        let mut bytes = files.text("service.json").into_bytes();
        let len = bytes.len();
        bytes[at % len] = byte;
        bytes.truncate(cut);
        let path = Path::new(FOLDER).join("service.json");
        (&files as &dyn Disk).write_atomic(&path, &bytes).unwrap();
        let _ = files.load(&none());
        let _ = crate::config::source::source(Path::new(FOLDER), &files);
    }

    #[test]
    fn an_identity_of_any_text_is_refused_by_its_place(id in ".{0,60}", key in ".{0,80}") {
        let files = Files::fresh();
        let text = json!({"id": id, "private_key": key}).to_string();
        files.put(identity::FILE, &text);
        let error = Identity::load(Path::new(FOLDER), &files, &none()).unwrap_err();
        prop_assert!(error.to_string().contains("identity.json"), "{error}");
    }

    #[test]
    fn a_peerstore_of_any_text_gives_warnings_by_line(text in "[ -~\n]{0,200}") {
        let (found, warnings) = crate::net::peerstore::parse(&text);
        let lines = text.lines().count();
        prop_assert!(found.len() + warnings.len() <= lines);
        prop_assert!(warnings.iter().all(|w| w.line >= 1 && w.line <= lines));
    }
}
