//! Keys and tokens: made elsewhere (Python's `cryptography`), made here, and made up.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::{Value, json};

use super::keys::Keys;
use super::token::{self, Claims, Expected, Mail};
use super::{Provider, Secret, Settings, code_of};

/// An RSA key of 2,048 bits and a point of P-256, and one payload signed with them in three ways.
const RSA: &str = concat!(
    "sfbgmByWXd_jSG6UK7iao4yJVMMqRxlJM6bIIu3c02e5YVxxtaFOoUhHpSBxAIjuVetmjJBNp147OnNLo2BmmW-SRAi1TsiQSvZv",
    "R9b4UWjidT4pEEZB9kqh29UbjIuo3r5pr8c-6zmOwMYnV6BH_frc9teyiYiyuAnxIddtxWKyWEdsEo-Jb0GVdieaFMqkDIlDJ0dv",
    "_3xYFWZ-8Lei7Ue9JcYoI5YUCY3A0sw1dkkP5LaufuLt8frlfrlSOctd-8ZYkrERUS4pJ9o9_WZl1RwjPw7eVJ_LD_fU7r3yYmDO",
    "meVgpBcgKLQme6Y-0xFhAd72yBigBJV1W8Th5eONlw",
);
const POINT: [&str; 2] = [
    "XbRiALfoGhnQ4D22UXn0MUBnCJvTolweYzowPp9mDTg",
    "968V4HrJfFxsq57G10bg9VxX22Rpevge7rjBf_xBwKY",
];
const SIGNED: [&str; 3] = [
    concat!(
        "eyJhbGciOiJSUzI1NiIsImtpZCI6InIifQ.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUub3JnIiwic3ViIjoiMjQ4Mjg5N",
        "zYxMDAxIn0.INXxxDnr9dOlGKj2VKmIkCWNr_ixsw156rUxQG9aQD5M6OhPNY4v2RQWKKk9uWOlnPfSATqOeJ0baAnHsKrbUheQl",
        "DQKLbaJ5vB9Jp5I08xgt--ghsyGc3VX73gaZvHRrQ2JUJ4uVpSpNPxQpLAZdNm-OGcV-XOgl-qrVEZ1BR9bUP9NQaf6kThgdBnC6",
        "QD0vyyIxRZbgsuuNMOow_HGo88vly0GVCjlcTFmwR56yNTU_mGQ3BNgEeCWgUrJEFgc76QotMc_bMuKk0k2gDZS6eb1lP3-MULs6",
        "2IV1ehG9fOoRT9YOn1SkrRAgfbIlRQOerHc3ewkvRFa2LotKxSMDg",
    ),
    concat!(
        "eyJhbGciOiJQUzI1NiIsImtpZCI6InIifQ.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUub3JnIiwic3ViIjoiMjQ4Mjg5N",
        "zYxMDAxIn0.A_ZDRHLp40Liz98mOHkYA1ipGjm-9G2pNVkTLos1xNeYO6Tynq-AcN4mWGlI3BfjpjyBztuW4pmuPZRHCr-0R3g7Z",
        "paFyk1j5pHaKUoMfDxh17czvIkKNmd9FBgJQa_NQQduqs5tox5ikRiHZnJTNH4C18B5-rIb_JIybHhRguXubIEYTmSAOZjydqE7G",
        "NpaNOpFgJh-3LzMjjZWtOUwo7E7V3wQKpJrF2VLgO_sSZ3OZ_JRYR11Qyu2dZo-OjI3zQNXztOnJv7_wtSF8VF14oXmXmNLCcFwr",
        "GOLcRJ_O596CSVcvg4RBqQ4ZUABhkpvEzBsBPEwRvMnDJ-UgautlA",
    ),
    concat!(
        "eyJhbGciOiJFUzI1NiIsImtpZCI6ImUifQ.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUub3JnIiwic3ViIjoiMjQ4Mjg5N",
        "zYxMDAxIn0.m9cd0nlMEnutV592RR5jlnxYXTYMBix5eWycke9B0tUXryhb9stw1bie_EXxsauARGMYS-VxCn5gAJt_EvB2gQ",
    ),
];

const NOW: i64 = 1_800_000_000;

fn keys(keys: Value) -> Keys {
    serde_json::from_value(json!({ "keys": keys })).unwrap()
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Why a token's signature is not taken; empty if it is.
fn refusal(keys: &Keys, token: &str) -> String {
    let parts = token::parts(token);
    let verified = parts.and_then(|parts| keys.verify(&parts));
    verified.map_or_else(|fault| fault.to_string(), |()| String::new())
}

#[test]
fn signatures_that_others_made_are_good() {
    let rsa = json!({ "kty": "RSA", "kid": "r", "use": "sig", "n": RSA, "e": "AQAB" });
    let point = json!({ "kty": "EC", "kid": "e", "crv": "P-256", "x": POINT[0], "y": POINT[1] });
    // Kinds that are not known here do not keep the others from working.
    let other = json!({ "kty": "AKP", "kid": "p", "alg": "ML-DSA-44", "pub": "AAAA" });
    let all = keys(json!([other, rsa, point]));
    for token in SIGNED {
        assert_eq!(refusal(&all, token), "");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[10] ^= 1;
        let forged = format!("{signed}.{}", encoded(&bytes));
        assert!(refusal(&all, &forged).contains("none of its keys"));
        let parts: Vec<&str> = token.split('.').collect();
        let payload = encoded(r#"{"iss":"https://login.example.org","sub":"1"}"#);
        let changed = format!("{}.{payload}.{}", parts[0], parts[2]);
        assert!(refusal(&all, &changed).contains("none of its keys"));
    }
    let for_encryption =
        keys(json!([{ "kty": "RSA", "kid": "r", "use": "enc", "n": RSA, "e": "AQAB" }]));
    assert!(refusal(&for_encryption, SIGNED[0]).contains("none of its keys"));
    let for_another =
        keys(json!([{ "kty": "RSA", "kid": "r", "alg": "RS512", "n": RSA, "e": "AQAB" }]));
    assert!(refusal(&for_another, SIGNED[0]).contains("none of its keys"));
}

/// A token of `claims` with the named algorithm, signed by `sign`.
fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!(
        "{}.{}",
        encoded(header.to_string()),
        encoded(claims.to_string())
    );
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", encoded(signature))
}

#[test]
fn what_needs_no_private_key_is_no_signature() {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
    let pair = pair.unwrap();
    let public = pair.public_key().as_ref().to_vec();
    let (x, y) = (encoded(&public[1..33]), encoded(&public[33..]));
    let known = keys(json!([{ "kty": "EC", "crv": "P-256", "x": x, "y": y }]));
    let claims = json!({ "sub": "1" });
    let sign = |bytes: &[u8]| pair.sign(&random, bytes).unwrap().as_ref().to_vec();
    assert_eq!(
        refusal(&known, &token(&json!({ "alg": "ES256" }), &claims, sign)),
        ""
    );

    let hmac = |bytes: &[u8]| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &public);
        ring::hmac::sign(&key, bytes).as_ref().to_vec()
    };
    let check = |header: Value, token: String, expected: &str| {
        let refusal = refusal(&known, &token);
        assert!(refusal.contains(expected), "{header}: {refusal:?}");
    };
    let made = |header: &Value| token(header, &claims, sign);
    for algorithm in ["none", "None", "HS256", "ES384", "RS256", "EdDSA", ""] {
        let header = json!({ "alg": algorithm });
        let with = token(&header, &claims, |_| Vec::new());
        check(header.clone(), with, "none of its keys");
        let with = token(&header, &claims, hmac);
        check(header.clone(), with, "none of its keys");
        let with = made(&header);
        check(header, with, "none of its keys");
    }
    let critical = json!({ "alg": "ES256", "crit": ["b64"], "b64": false });
    check(critical.clone(), made(&critical), "not known here");
    for text in [
        "",
        ".",
        "..",
        "a.b.c",
        "e30.e30.",
        "e30.e30",
        &"a".repeat(100_000),
    ] {
        check(json!(text.len()), text.to_owned(), "no signed token");
    }
}

#[test]
fn a_key_of_an_edwards_curve_signs_too() {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let x = encoded(pair.public_key().as_ref());
    let known = keys(json!([{ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "1" }]));
    let header = json!({ "alg": "EdDSA", "kid": "1" });
    let made = token(&header, &json!({ "sub": "1" }), |bytes| {
        pair.sign(bytes).as_ref().to_vec()
    });
    assert_eq!(refusal(&known, &made), "");
    let renamed = json!({ "alg": "EdDSA", "kid": "2" });
    let made = token(&renamed, &json!({ "sub": "1" }), |bytes| {
        pair.sign(bytes).as_ref().to_vec()
    });
    assert!(refusal(&known, &made).contains("none of its keys"));
}

/// Good claims, with some of them changed; null takes one away.
fn claims(changed: Value) -> Claims {
    let mut all = json!({
        "iss": "https://login.example.org",
        "sub": "248289761001",
        "aud": "ligature",
        "exp": NOW + 300,
        "iat": NOW,
        "nonce": "n-0S6_WzA2Mj",
    });
    let (all, changed) = (
        all.as_object_mut().unwrap(),
        changed.as_object().unwrap().clone(),
    );
    for (name, value) in changed {
        match value {
            Value::Null => all.remove(&name),
            value => all.insert(name, value),
        };
    }
    serde_json::from_value(Value::Object(all.clone())).unwrap()
}

#[test]
fn every_claim_must_hold() {
    let expected = Expected {
        issuer: "https://login.example.org",
        client: "ligature",
        nonce: "n-0S6_WzA2Mj",
        now: NOW,
    };
    let check = |changed: Value, refusal: &str| {
        let said = claims(changed.clone()).check(&expected);
        let said = said.map_or_else(|fault| fault.to_string(), |()| String::new());
        let agrees = if refusal.is_empty() {
            said.is_empty()
        } else {
            said.contains(refusal)
        };
        assert!(agrees, "{changed}: {said:?}");
    };
    check(json!({}), "");
    check(json!({ "aud": ["ligature"] }), "");
    check(
        json!({ "aud": ["ligature", "other"], "azp": "ligature" }),
        "",
    );
    check(json!({ "exp": NOW as f64 + 0.5 }), "");
    // Clocks differ.
    check(json!({ "exp": NOW - 100, "iat": NOW + 100 }), "");

    check(
        json!({ "iss": "https://login.example.org/" }),
        "another issuer",
    );
    check(json!({ "iss": null }), "another issuer");
    check(json!({ "aud": "other" }), "somebody else");
    check(json!({ "aud": [] }), "somebody else");
    check(json!({ "aud": null }), "somebody else");
    check(json!({ "aud": ["ligature", "other"] }), "somebody else");
    check(json!({ "azp": "other" }), "somebody else");
    check(json!({ "exp": NOW - 120 }), "too old");
    check(json!({ "exp": null }), "too old");
    check(json!({ "iat": NOW + 121 }), "of tomorrow");
    check(json!({ "iat": null }), "of tomorrow");
    check(json!({ "nonce": "another" }), "another sign-in");
    check(json!({ "nonce": null }), "another sign-in");
    check(json!({ "sub": "" }), "names nobody");
    check(json!({ "sub": "x".repeat(256) }), "names nobody");
}

#[test]
fn a_mail_address_counts_where_the_provider_stands_for_it() {
    let check = |said: Value, trusts: bool, expected: Option<&str>| {
        let mail: Mail = serde_json::from_value(said.clone()).unwrap();
        assert_eq!(
            mail.verified(trusts).as_deref(),
            expected,
            "{said} {trusts}"
        );
    };
    let ana = "Ana@Example.org";
    check(
        json!({ "email": ana, "email_verified": true }),
        false,
        Some("ana@example.org"),
    );
    check(
        json!({ "email": ana, "email_verified": "true" }),
        false,
        Some("ana@example.org"),
    );
    check(json!({ "email": ana }), true, Some("ana@example.org"));
    check(json!({ "email": ana }), false, None);
    check(json!({ "email": ana, "email_verified": false }), true, None);
    check(
        json!({ "email": ana, "email_verified": "false" }),
        true,
        None,
    );
    check(json!({ "email": ana, "email_verified": "yes" }), true, None);
    check(json!({ "email_verified": true }), true, None);
}

fn settings() -> Settings {
    Settings {
        issuer: "https://login.example.org/clinic".into(),
        client_id: "ligature".into(),
        client_secret: None,
        console: "https://bridge.example.org".parse().unwrap(),
        name: "Clinic account".into(),
        authorities: None,
        trust_mail: false,
        only: false,
    }
}

#[test]
fn addresses_in_clear_are_of_this_machine_only() {
    let check = |issuer: &str, console: &str, expected: &str| {
        let made = Provider::new(Settings {
            issuer: issuer.into(),
            console: console.parse().unwrap(),
            ..settings()
        });
        match made {
            Ok(_) => assert_eq!("", expected, "{issuer} {console}"),
            Err(fault) => assert!(
                !expected.is_empty() && fault.to_string().starts_with(expected),
                "{issuer} {console}: {fault}"
            ),
        }
    };
    let (issuer, console) = ("https://login.example.org", "https://bridge.example.org");
    check(issuer, console, "");
    check("http://127.0.0.1:9000/realm", "http://localhost:8080", "");
    check("http://[::1]:9000", "http://[::1]:8080", "");
    check("http://login.example.org", console, "openid.issuer");
    check("http://127.0.0.1.example.org", console, "openid.issuer");
    check("login", console, "openid.issuer");
    check(
        "https://login.example.org/?tenant=1",
        console,
        "openid.issuer",
    );
    check(issuer, "http://bridge.example.org", "openid.console");
    check(
        issuer,
        "https://bridge.example.org/console",
        "openid.console",
    );
}

#[test]
fn codes_of_providers_are_shown_without_what_could_be_hidden_in_them() {
    assert_eq!(code_of("access_denied"), "access_denied");
    assert_eq!(code_of("<b>no</b> ana@example.org"), "bnobanaexample.org");
    assert_eq!(code_of(&"x".repeat(1_000)).len(), 60);
}

#[test]
fn credentials_are_encoded_as_in_a_form() {
    let check = |text: &str, expected: &str| assert_eq!(super::encoded(text), expected);
    check("a b:c+d", "a+b%3Ac%2Bd");
    check("=x", "%3Dx");
    check("", "");
}

#[test]
fn a_secret_is_not_shown_by_accident() {
    let mut settings = settings();
    settings.client_secret = Some(Secret("s3cret".into()));
    assert!(!format!("{settings:?}").contains("s3cret"));
}
