//! Laws of the vault: what is sealed opens in its place and nowhere else.

use super::*;
use proptest::prelude::*;

const PLACE: Place<'static> = Place {
    account: "a",
    id: "m1",
    column: "payload",
};

fn vault() -> Vault {
    Vault::new(Key::generate().unwrap())
}

proptest! {
    #[test]
    fn opens_what_it_sealed(plain: Vec<u8>) {
        let vault = vault();
        let sealed = vault.seal(&PLACE, &plain).unwrap();
        prop_assert_eq!(vault.open(&PLACE, &sealed).unwrap(), plain);
    }

    #[test]
    fn any_changed_bit_is_noticed(plain: Vec<u8>, at: prop::sample::Index, bit in 0_u8..8) {
        let vault = vault();
        let mut sealed = vault.seal(&PLACE, &plain).unwrap();
        let at = at.index(sealed.len());
        sealed[at] ^= 1 << bit;
        prop_assert!(vault.open(&PLACE, &sealed).is_err());
    }
}

#[test]
fn opens_in_its_place_only() {
    let vault = vault();
    let sealed = vault.seal(&PLACE, b"text").unwrap();
    for place in [
        Place {
            account: "b",
            ..PLACE
        },
        Place { id: "m2", ..PLACE },
        Place {
            column: "note",
            ..PLACE
        },
        Place {
            account: "am",
            id: "1",
            ..PLACE
        },
    ] {
        assert_eq!(vault.open(&place, &sealed), Err(Error::DoesNotOpen));
    }
    assert_eq!(vault.open(&PLACE, b"short"), Err(Error::DoesNotOpen));
}

#[test]
fn a_newer_key_seals_and_the_older_still_opens() {
    let hex = |digit: &str| digit.repeat(64);
    let old = Vault::new(Key::from_hex(1, &hex("1")).unwrap());
    let both = Vault::with_keys(vec![
        Key::from_hex(1, &hex("1")).unwrap(),
        Key::from_hex(2, &hex("2")).unwrap(),
    ])
    .unwrap();
    let before = old.seal(&PLACE, b"text").unwrap();
    let after = both.seal(&PLACE, b"text").unwrap();
    assert_eq!(both.open(&PLACE, &before).unwrap(), b"text");
    assert_eq!(old.open(&PLACE, &after), Err(Error::UnknownKey(2)));
    assert_eq!(
        old.index("a", "mrn", "1"),
        both.index("a", "mrn", "1"),
        "messages received before the change are still found"
    );
}

#[test]
fn hashes_depend_on_account_kind_and_value() {
    let vault = vault();
    let hash = vault.index("a", "mrn", "1");
    assert_eq!(hash, vault.index("a", "mrn", "1"));
    for other in [
        vault.index("b", "mrn", "1"),
        vault.index("a", "visit", "1"),
        vault.index("a", "mrn", "2"),
        vault.index("a", "mr", "n1"),
        self::vault().index("a", "mrn", "1"),
    ] {
        assert_ne!(hash, other);
    }
}

#[test]
fn keys_are_read_strictly_and_never_shown() {
    let key = Key::generate().unwrap();
    let again = Key::from_hex(1, &format!(" {}\n", key.to_hex())).unwrap();
    assert_eq!(key.to_hex(), again.to_hex());
    for text in ["", "12", &"g".repeat(64), &"1".repeat(63), &"1".repeat(65)] {
        assert_eq!(Key::from_hex(1, text).unwrap_err(), Error::BadKey);
    }
    assert_eq!(format!("{key:?}"), "Key(1, redacted)");
    assert_eq!(format!("{:?}", Vault::new(key)), "Vault(1 keys, redacted)");
}
