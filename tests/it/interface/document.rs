//! The document at `/api/v1/openapi.json`: every route is in it, and answers are what it says.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use ligature_tests::mllp::Client;
use ligature_tests::workspace_root;
use serde_json::{Map, Value, json};

use super::{clinic, registration, until};

/// Every operation of the document: method in capitals, path, and itself.
fn operations(document: &Value) -> anyhow::Result<Vec<(String, String, Value)>> {
    let paths = document["paths"].as_object().context("paths")?;
    let mut all = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().context("an item")? {
            all.push((method.to_uppercase(), path.clone(), operation.clone()));
        }
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_in_the_document_and_answers() -> anyhow::Result<()> {
    let (clinic, api) = clinic().await?;
    let document = clinic
        .site
        .stranger()
        .get("/api/v1/openapi.json")
        .await?
        .expect(200)?;
    ensure!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3."))
    );
    let operations = operations(&document)?;
    let told: BTreeSet<_> = operations
        .iter()
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();

    // What handlers say of themselves, and what a router of another kind would add.
    let mut written = BTreeSet::new();
    let folder = workspace_root().join("host/src/web/api");
    for file in std::fs::read_dir(folder)? {
        let text = std::fs::read_to_string(file?.path())?;
        for part in text.split("#[utoipa::path(").skip(1) {
            let method = part
                .split(',')
                .next()
                .context("a method")?
                .trim()
                .to_uppercase();
            let path = part.split("path = \"").nth(1).context("a path")?;
            written.insert(format!(
                "{method} {}",
                path.split('"').next().unwrap_or_default()
            ));
        }
    }
    ensure!(
        written == told,
        "in the source: {written:#?}\nin the document: {told:#?}"
    );
    for file in ["web.rs", "web/api.rs"] {
        let text = std::fs::read_to_string(workspace_root().join("host/src").join(file))?;
        let others: Vec<_> = text
            .split(".route(")
            .skip(1)
            .filter_map(|rest| rest.split('"').nth(1))
            .filter(|path| path.starts_with("/api/"))
            .filter(|path| !["/api/v1/openapi.json", "/api/v1/{*rest}"].contains(path))
            .collect();
        ensure!(
            others.is_empty(),
            "{file} has routes that no document tells of: {others:?}"
        );
    }

    // Each is there: nobody is told "no such address", and a stranger changes nothing.
    for (method, path, operation) in &operations {
        let place = path.replace(['{', '}'], "");
        let stranger = clinic.site.stranger();
        let answer = stranger.send(method, &place, Some(json!({})), None).await?;
        let reads = ["/messages", "/counts", "/deliveries", "/calls"];
        let is_open = method == "GET" && reads.iter().any(|part| path.contains(part));
        let expected = match is_open {
            true => answer.status != 405 && !answer.body.to_string().contains("no such address"),
            // 400 where what is asked cannot even be read.
            false => [400, 401].contains(&answer.status),
        };
        ensure!(
            expected,
            "{method} {path}: {} {}",
            answer.status,
            answer.body
        );
        ensure!(
            operation["responses"]["default"].is_object(),
            "{method} {path}: no error is told of"
        );
        let described = operation["summary"].is_string() || operation["description"].is_string();
        ensure!(described, "{method} {path} says nothing");
    }
    // References lead somewhere.
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    ensure!(references.len() > 50);
    for reference in references {
        let pointer = reference.trim_start_matches('#');
        ensure!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
    drop(api);
    Ok(())
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(
                members
                    .get("$ref")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            members
                .values()
                .for_each(|value| collect_references(value, found));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|value| collect_references(value, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_as_the_document_says() -> anyhow::Result<()> {
    let (clinic, api) = clinic().await?;
    let document = api.get("/api/v1/openapi.json").await?.expect(200)?;
    let mut client = Client::connect(clinic.site.mllp).await?;
    client.exchange(registration("1").as_bytes()).await?;
    let page = until(&api, "/api/v1/deliveries?state=delivered", |page| {
        page["items"]
            .as_array()
            .is_some_and(|items| items.len() == 1)
    })
    .await?;
    let delivery = page["items"][0]["delivery"]["id"]
        .as_str()
        .context("an id")?;
    let message = page["items"][0]["message"].as_str().context("an id")?;
    api.put(
        "/api/v1/code-tables/clinic/wards",
        json!({ "entries": { "1": ["One"] } }),
    )
    .await?
    .expect(201)?;
    let components = api.get("/api/v1/components").await?.expect(200)?;
    let digest = components["items"][0]["digest"]
        .as_str()
        .context("a digest")?;
    for (path, told) in [
        ("/api/v1/accounts".to_owned(), "/api/v1/accounts"),
        ("/api/v1/accounts/clinic".into(), "/api/v1/accounts/{id}"),
        (
            "/api/v1/accounts/clinic/fields".into(),
            "/api/v1/accounts/{id}/fields",
        ),
        (
            "/api/v1/accounts/clinic/users".into(),
            "/api/v1/accounts/{id}/users",
        ),
        (
            "/api/v1/accounts/clinic/webhooks".into(),
            "/api/v1/accounts/{id}/webhooks",
        ),
        ("/api/v1/channels".into(), "/api/v1/channels"),
        ("/api/v1/channels/ehr".into(), "/api/v1/channels/{id}"),
        ("/api/v1/flows".into(), "/api/v1/flows"),
        ("/api/v1/flows/ADT%5EA04".into(), "/api/v1/flows/{id}"),
        (
            "/api/v1/flows/ADT%5EA04/versions".into(),
            "/api/v1/flows/{id}/versions",
        ),
        ("/api/v1/components".into(), "/api/v1/components"),
        (
            format!("/api/v1/components/clinic/{digest}"),
            "/api/v1/components/{account}/{digest}",
        ),
        (
            "/api/v1/flows/ADT%5EA04/releases".into(),
            "/api/v1/flows/{id}/releases",
        ),
        ("/api/v1/shared-mappings".into(), "/api/v1/shared-mappings"),
        ("/api/v1/code-tables".into(), "/api/v1/code-tables"),
        (
            "/api/v1/code-tables/clinic/wards".into(),
            "/api/v1/code-tables/{account}/{name}",
        ),
        (
            "/api/v1/code-tables/clinic/wards/misses".into(),
            "/api/v1/code-tables/{account}/{name}/misses",
        ),
        ("/api/v1/messages".into(), "/api/v1/messages"),
        (
            format!("/api/v1/messages/{message}"),
            "/api/v1/messages/{id}",
        ),
        ("/api/v1/counts".into(), "/api/v1/counts"),
        ("/api/v1/deliveries".into(), "/api/v1/deliveries"),
        (
            format!("/api/v1/deliveries/{delivery}"),
            "/api/v1/deliveries/{id}",
        ),
        ("/api/v1/audit".into(), "/api/v1/audit"),
        ("/api/v1/setup".into(), "/api/v1/setup"),
        ("/api/v1/inventory".into(), "/api/v1/inventory"),
        ("/api/v1/alerts".into(), "/api/v1/alerts"),
        ("/api/v1/alert-settings".into(), "/api/v1/alert-settings"),
        (
            "/api/v1/flows/ADT%5EA04/component".into(),
            "/api/v1/flows/{id}/component",
        ),
        (
            "/api/v1/flows/ADT%5EA04/lacking-fields".into(),
            "/api/v1/flows/{id}/lacking-fields",
        ),
        ("/api/v1/replies".into(), "/api/v1/replies"),
        (
            "/api/v1/accounts/clinic/calls".into(),
            "/api/v1/accounts/{id}/calls",
        ),
        (
            "/api/v1/accounts/clinic/today".into(),
            "/api/v1/accounts/{id}/today",
        ),
        (
            "/api/v1/accounts/clinic/figures?span=day".into(),
            "/api/v1/accounts/{id}/figures",
        ),
    ] {
        let body = api.get(&path).await?.expect(200)?;
        let operation = &document["paths"][told]["get"];
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        ensure!(schema.is_object(), "{told} has no schema");
        validate(&document, schema, &body, "").with_context(|| format!("{path} answers {body}"))?;
        let error = &operation["responses"]["default"]["content"]["application/json"]["schema"];
        let problem = api.get("/api/v1/flows/none").await?.expect(404)?;
        validate(&document, error, &problem, "")?;
        ensure!(
            validate(&document, schema, &problem, "").is_err(),
            "{told}: anything would do"
        );
    }
    Ok(())
}

/// Checks a value against a schema, as far as this document's schemas go.
fn validate(document: &Value, schema: &Value, value: &Value, path: &str) -> anyhow::Result<()> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return validate(
            document,
            target.context("a reference that leads nowhere")?,
            value,
            path,
        );
    }
    let choices = |name: &str| schema[name].as_array().cloned().unwrap_or_default();
    let fits = |schema: &Value| validate(document, schema, value, path).is_ok();
    let one_of = choices("oneOf");
    ensure!(
        one_of.is_empty() || one_of.iter().any(fits),
        "{path}: {value} fits none of {schema}"
    );
    let any_of = choices("anyOf");
    ensure!(
        any_of.is_empty() || any_of.iter().any(fits),
        "{path}: {value} fits none of {schema}"
    );
    for part in choices("allOf") {
        validate(document, &part, value, path)?;
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        Value::Null => Vec::new(),
        kind => vec![kind.clone()],
    };
    let is = |kind: &Value| match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => false,
    };
    ensure!(
        kinds.is_empty() || kinds.iter().any(is),
        "{path}: {value} is not {kinds:?}"
    );
    let words = choices("enum");
    ensure!(
        words.is_empty() || words.contains(value),
        "{path}: {value} is none of {words:?}"
    );
    let empty = Map::new();
    let members = value.as_object().unwrap_or(&empty);
    if value.is_object() {
        for name in choices("required") {
            let name = name.as_str().unwrap_or_default();
            ensure!(members.contains_key(name), "{path}: no {name}");
        }
    }
    for (name, value) in members {
        let path = format!("{path}.{name}");
        let own = &schema["properties"][name];
        let other = &schema["additionalProperties"];
        if own.is_object() {
            validate(document, own, value, &path)?;
        } else if other.is_object() {
            validate(document, other, value, &path)?;
        } else {
            ensure!(*other != json!(false), "{path}: is not told of");
        }
    }
    for (at, value) in value.as_array().into_iter().flatten().enumerate() {
        if schema["items"].is_object() {
            validate(document, &schema["items"], value, &format!("{path}.{at}"))?;
        }
    }
    Ok(())
}
