//! Starts the real program, `target/release/fortress run`, on a configuration of a chore's own, and
//! the upstream that stands behind it: nginx with a fixed answer, because it costs least.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::process::{self, Server};

/// The answer of the upstream, which matches [`DESCRIPTION`].
pub(crate) const ANSWER: &str = r#"{"id":17,"status":"open","total":1250,"items":[{"sku":"A-1","count":2},{"sku":"B-2","count":1}]}"#;

/// Where the program is, if it has been built.
pub(crate) fn binary(given: Option<&Path>) -> Result<PathBuf> {
    let path = given.map_or_else(
        || process::root().join("target/release/fortress"),
        Path::to_owned,
    );
    if !path.is_file() {
        bail!("no {}; build it: cargo build --release", path.display());
    }
    Ok(path)
}

/// Starts Fortress with `configuration` (the text of a fortress.yaml), on `core` if one is named.
pub(crate) fn start(
    binary: &Path,
    folder: &Path,
    configuration: &str,
    address: SocketAddr,
    core: Option<&str>,
) -> Result<Server> {
    fs::create_dir_all(folder)?;
    let file = folder.join("fortress.yaml");
    fs::write(&file, configuration)?;
    let mut command = core.map_or_else(
        || std::process::Command::new(binary),
        |core| process::pinned(core, binary),
    );
    Server::start(
        command.arg("run").arg(&file),
        &folder.join("fortress.log"),
        address,
    )
}

/// Starts the upstream.
pub(crate) fn start_upstream(
    folder: &Path,
    address: SocketAddr,
    core: Option<&str>,
) -> Result<Server> {
    let text = format!(
        "{}http {{\n{}  server {{ listen {address} backlog=4096; default_type application/json;\n    \
         location / {{ return 200 '{ANSWER}'; }} }}\n}}\n",
        nginx_preamble(folder),
        nginx_http(folder),
    );
    start_nginx(folder, "upstream", &text, address, core)
}

/// Starts an nginx on the configuration `text`.
pub(crate) fn start_nginx(
    folder: &Path,
    name: &str,
    text: &str,
    address: SocketAddr,
    core: Option<&str>,
) -> Result<Server> {
    let Some(nginx) = process::find("nginx", &["/usr/sbin".into()]) else {
        bail!("no nginx; install it: apt-get install nginx");
    };
    let file = folder.join(format!("{name}.conf"));
    fs::write(&file, text.replace("NAME", name))?;
    let mut command = core.map_or_else(
        || std::process::Command::new(&nginx),
        |core| process::pinned(core, &nginx),
    );
    Server::start(
        command
            .arg("-e")
            .arg(folder.join(format!("{name}.err")))
            .arg("-c")
            .arg(&file),
        &folder.join(format!("{name}.log")),
        address,
    )
}

/// What every nginx here begins with: in the foreground, one worker, and no file outside `folder`.
pub(crate) fn nginx_preamble(folder: &Path) -> String {
    format!(
        "daemon off;\nworker_processes 1;\nuser root;\npid {0}/NAME.pid;\nerror_log {0}/NAME.err;\n\
         events {{ worker_connections 8192; }}\n",
        folder.display()
    )
}

/// What every `http` block here begins with: connections that stay, and no log.
pub(crate) fn nginx_http(folder: &Path) -> String {
    let mut text = String::from(
        "  access_log off;\n  keepalive_requests 100000000;\n  keepalive_timeout 120s;\n",
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        text.push_str(&format!(
            "  {kind}_temp_path {}/NAME-{kind};\n",
            folder.display()
        ));
    }
    text
}

/// A description of the orders API that the benchmark's requests keep to.
pub(crate) const DESCRIPTION: &str = r##"openapi: 3.1.0
info: { title: Orders, version: "1" }
security: [{ bearer: [orders] }]
paths:
  /orders:
    post:
      operationId: createOrder
      requestBody:
        required: true
        content:
          application/json: { schema: { $ref: "#/components/schemas/NewOrder" } }
      responses: { "200": { $ref: "#/components/responses/Order" } }
  /orders/{id}:
    get:
      operationId: getOrder
      parameters:
        - { name: id, in: path, required: true, schema: { type: integer, format: int64, minimum: 1 } }
        - { name: expand, in: query, schema: { type: string, enum: [items, none] } }
        - { name: limit, in: query, schema: { type: integer, minimum: 1, maximum: 100 } }
      responses: { "200": { $ref: "#/components/responses/Order" } }
components:
  securitySchemes:
    bearer: { type: http, scheme: bearer, bearerFormat: JWT }
  responses:
    Order:
      description: the order
      content:
        application/json: { schema: { $ref: "#/components/schemas/Order" } }
  schemas:
    Item:
      type: object
      required: [sku, count]
      properties:
        sku: { type: string, maxLength: 40 }
        count: { type: integer, minimum: 1, maximum: 1000 }
    Order:
      type: object
      required: [id, status]
      properties:
        id: { type: integer, format: int64 }
        status: { type: string, enum: [open, shipped, cancelled] }
        total: { type: integer }
        items: { type: array, maxItems: 100, items: { $ref: "#/components/schemas/Item" } }
    NewOrder:
      type: object
      required: [customer, items]
      properties:
        customer: { type: string, format: uuid }
        note: { type: string, maxLength: 2000 }
        items: { type: array, minItems: 1, maxItems: 100, items: { $ref: "#/components/schemas/Item" } }
"##;

/// A body of 1 KiB that the description's `createOrder` accepts.
pub(crate) fn order_body() -> String {
    let mut body = String::from(
        r#"{"customer":"3f2b8c1e-5d4a-4b6f-9c7d-2e1f0a9b8c7d","items":[{"sku":"A-1","count":2}"#,
    );
    for number in 2..17 {
        body.push_str(&format!(
            r#",{{"sku":"ARTICLE-{number:04}","count":{number}}}"#
        ));
    }
    body.push_str(r#"],"note":""#);
    let missing = 1024_usize.saturating_sub(body.len() + 2);
    body.push_str(
        &"a few words "
            .repeat(missing / 12 + 1)
            .chars()
            .take(missing)
            .collect::<String>(),
    );
    body.push_str("\"}");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_a_kibibyte_of_json() {
        let body = order_body();
        assert_eq!(body.len(), 1024);
        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(value["items"].as_array().unwrap().len() > 10);
        assert!(!value["note"].as_str().unwrap().is_empty());
    }
}
