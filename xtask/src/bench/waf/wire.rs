//! The rule engines where people run them: nginx with ModSecurity's connector beside Fortress with
//! the same rules, through sockets, in front of the same upstream; and each without rules, so that
//! what the rules add can be read off.
//!
//! Deliberately not here: Coraza, whose connectors stand in other servers and would compare those.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context, Result, ensure};

use super::{
    super::{LOAD_CORE, Options, PROXY_CORE, load, report::Samples},
    Stage, directives,
    report::{Report, Wired},
    scenario::Scenario,
};
use crate::{
    gateway,
    output::complain,
    process::{self, Server},
};

/// Where Debian puts nginx's modules.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_http_modsecurity_module.so";
/// What is sent.
const SCENARIOS: &[Scenario] = &[
    Scenario::Service,
    Scenario::Browser,
    Scenario::Json,
    Scenario::Sqli,
];

/// A proxy with or without the rules.
#[derive(Debug)]
struct Proxy {
    name: &'static str,
    address: SocketAddr,
    server: Server,
}

/// Starts one of them before an upstream.
type Start = fn(&Options, &Place<'_>) -> Result<(SocketAddr, Server)>;

const ALL: &[(&str, Start)] = &[
    ("nginx without rules", |_, place| nginx(place, None)),
    ("nginx with ModSecurity", |_, place| {
        ensure!(
            Path::new(MODULE).is_file(),
            "not installed (apt-get install libnginx-mod-http-modsecurity)"
        );
        let rules = place.stage.folder.join("nginx.rules");
        fs::write(&rules, directives(&place.stage.crs, 1, ""))?;
        nginx(place, Some(&rules))
    }),
    ("Fortress without rules", |options, place| {
        fortress(options, place, "bare", "{ mode: off }")
    }),
    ("Fortress with rules", |options, place| {
        let directory = place.stage.crs.display();
        let rules = format!("{{ rules: crs, directory: \"{directory}\", paranoia: 1 }}");
        fortress(options, place, "rules", &rules)
    }),
];

/// Where they stand.
#[derive(Debug)]
struct Place<'a> {
    stage: &'a Stage,
    folder: &'a Path,
    upstream: SocketAddr,
}

/// Measures every proxy under every scenario in turn, round by round.
pub(super) fn run(options: &Options, stage: &Stage, report: &mut Report) -> Result<()> {
    let folder = process::scratch("bench-waf-wire")?;
    let upstream = process::free_address()?;
    let _upstream = gateway::start_upstream(&folder, upstream, Some(LOAD_CORE))
        .context("cannot start the upstream")?;
    let place = Place {
        stage,
        folder: &folder,
        upstream,
    };
    let mut proxies = Vec::new();
    for (name, start) in ALL {
        match start(options, &place) {
            Ok((address, server)) => proxies.push(Proxy {
                name,
                address,
                server,
            }),
            Err(error) => report.skip(name, &error),
        }
    }
    let cells = SCENARIOS.iter().flat_map(|scenario| {
        proxies.iter().map(|proxy| Wired {
            scenario: *scenario,
            proxy: proxy.name,
            samples: Samples::default(),
        })
    });
    report.wired = cells.collect();
    for round in 0..=options.rounds {
        for cell in &mut report.wired {
            let mut proxies = proxies.iter();
            let Some(proxy) = proxies.find(|proxy| proxy.name == cell.proxy) else {
                continue;
            };
            let length = if round == 0 { 1 } else { options.seconds };
            let target = format!("http://{}/", proxy.address);
            let before = proxy.server.processor_time()?;
            let sample = load::repeat(&target, &script(cell.scenario), length, &folder)
                .with_context(|| format!("{} under `{}`", proxy.name, cell.scenario.name()))?;
            let spent = proxy.server.processor_time()?.saturating_sub(before);
            if round > 0 {
                cell.samples.push(load::Sample { spent, ..sample });
            }
        }
        complain(format_args!(
            "on the wire: round {round} of {}",
            options.rounds
        ));
    }
    Ok(())
}

/// Lua that makes wrk send the scenario's variants as they are, in turn.
fn script(scenario: Scenario) -> String {
    let mut lua = String::from("local requests = {\n");
    for request in scenario.requests() {
        lua.push('"');
        // Every byte by number: Lua and the requests quote differently.
        lua.extend(request.iter().map(|byte| format!("\\{byte:03}")));
        lua.push_str("\",\n");
    }
    lua.push_str(
        "}\nlocal next = 0\nrequest = function()\n  next = next % #requests + 1\n  \
         return requests[next]\nend\n",
    );
    lua
}

fn nginx(place: &Place<'_>, rules: Option<&Path>) -> Result<(SocketAddr, Server)> {
    let address = process::free_address()?;
    let (name, module, switch) = match rules {
        None => ("nginx-bare", String::new(), String::new()),
        Some(rules) => (
            "nginx-modsecurity",
            format!("load_module {MODULE};\n"),
            format!(
                "modsecurity on; modsecurity_rules_file {};",
                rules.display()
            ),
        ),
    };
    let text = format!(
        "{module}{preamble}http {{\n{http}  proxy_http_version 1.1;\n  proxy_set_header Connection '';\n  \
         client_body_buffer_size 64k;\n  proxy_request_buffering on;\n  \
         upstream orders {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}\n  \
         server {{ listen {address} backlog=4096; {switch} \
         location / {{ proxy_pass http://orders; }} }}\n}}\n",
        preamble = gateway::nginx_preamble(place.folder),
        http = gateway::nginx_http(place.folder),
        upstream = place.upstream,
    );
    let server = gateway::start_nginx(place.folder, name, &text, address, Some(PROXY_CORE))?;
    Ok((address, server))
}

fn fortress(
    options: &Options,
    place: &Place<'_>,
    name: &str,
    waf: &str,
) -> Result<(SocketAddr, Server)> {
    let binary = gateway::binary(options.binary.as_deref())?;
    let address = process::free_address()?;
    let text = format!(
        "version: 1\nlisten: [{{ address: \"{address}\" }}]\ndefaults:\n  waf: {waf}\n\
         apis:\n  orders: {{ spec: none, public: true, upstream: \"http://{}\" }}\n",
        place.upstream
    );
    let folder = place.folder.join(format!("fortress-{name}"));
    let server = gateway::start(&binary, &folder, &text, address, Some(PROXY_CORE))?;
    Ok((address, server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_holds_every_request_byte_for_byte() {
        let lua = script(Scenario::Service);
        assert_eq!(lua.matches("\\071\\069\\084\\032\\047").count(), 2048);
        assert!(lua.contains("\\013\\010\\013\\010\",\n"));
    }
}
