//! Lists of networks, and which of them are meant where.

use std::{io::Read as _, path::Path, sync::Arc};

use fortress_limits::networks::{Listing, Networks};
use fortress_model::{
    Diagnostic,
    config::{Config, NetworkList, NetworkRules, Spanned, Verdict},
    diagnostic::did_you_mean,
    file,
};

use super::access::once;
use crate::{
    keys::KeyRing,
    networks::{List, NetworksPlan, Wish},
};

/// Bytes of a list's file.
const MAX_FILE: u64 = 64 << 20;

/// All lists. Those that are fetched begin to be.
pub(super) fn lists(
    config: &Config,
    keys: &KeyRing,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Arc<List>> {
    let lists = config.networks.iter();
    lists
        .map(|list| Arc::new(compile(list, keys, diagnostics)))
        .collect()
}

fn compile(list: &NetworkList, keys: &KeyRing, diagnostics: &mut Vec<Diagnostic>) -> List {
    let mut networks = list.addresses.clone();
    if let Some(file) = &list.file {
        match read(&file.value) {
            Err(why) => diagnostics.push(Diagnostic::error(file.span, why)),
            Ok(listing) => {
                diagnostics.extend(wrong(file, &listing));
                networks.extend(listing.networks);
            }
        }
    }
    let wishes = [
        list.url
            .as_ref()
            .map(|url| (Wish::Url(&url.value), &[Verdict::Ban][..])),
        list.crowdsec
            .as_ref()
            .map(|crowdsec| (Wish::CrowdSec(crowdsec), &*crowdsec.decisions)),
    ];
    let ca = list.ca.as_ref().map(|ca| &*ca.value);
    let mut feeds = Vec::new();
    for (wish, verdicts) in wishes.into_iter().flatten() {
        match keys.feeds().get(&list.name.value, &wish, ca, list.refresh) {
            Ok(feed) => feeds.push((feed, verdicts.into())),
            Err(why) => {
                let span = list.ca.as_ref().map_or(list.name.span, |ca| ca.span);
                diagnostics.push(Diagnostic::error(span, why));
            }
        }
    }
    List {
        name: list.name.value.as_str().into(),
        fixed: Networks::new(networks),
        feeds: feeds.into(),
    }
}

fn read(path: &Path) -> Result<Listing, String> {
    let shown = path.display();
    let mut text = Vec::new();
    file::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text))
        .map_err(|error| format!("cannot read `{shown}`: {error}"))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_FILE) {
        return Err(format!("`{shown}` has more than 64 MiB"));
    }
    Ok(Listing::read(&text))
}

/// Lines that are no networks. A file may be written by others, and one bad line must not keep all
/// the good ones out.
fn wrong(file: &Spanned<std::path::PathBuf>, listing: &Listing) -> Option<Diagnostic> {
    if listing.wrong_lines == 0 {
        return None;
    }
    let lines: Vec<String> = listing
        .wrong
        .iter()
        .map(|(line, text)| format!("line {line} `{text}`"))
        .collect();
    let more = listing.wrong_lines - listing.wrong.len();
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "`{}` has lines that are no networks: {}{more}",
        file.value.display(),
        lines.join(", ")
    );
    let help = "write one address or network in each line, such as `192.0.2.0/24`; comments begin with `#` or `;`";
    Some(Diagnostic::warning(file.span, message).help(help))
}

/// From where clients may come, by what is said.
pub(super) fn plan(
    lists: &[Arc<List>],
    rules: &NetworkRules,
    diagnostics: &mut Vec<Diagnostic>,
) -> NetworksPlan {
    let allow = rules.allow.as_ref();
    NetworksPlan {
        // INVARIANT: an unknown name is an error, so that no rule is lost with it.
        allow: allow.map(|names| named(lists, names, diagnostics)),
        deny: named(lists, rules.deny.iter().flatten(), diagnostics),
    }
}

/// Lists by their names.
pub(super) fn named<'c>(
    lists: &[Arc<List>],
    names: impl IntoIterator<Item = &'c Spanned<String>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Box<[Arc<List>]> {
    let mut found = Vec::new();
    for name in names {
        if let Some(list) = lists.iter().find(|list| *list.name == *name.value) {
            found.push(Arc::clone(list));
            continue;
        }
        let message = format!("there is no list of networks `{}`", name.value);
        let known = lists.iter().map(|list| &*list.name);
        let help = match did_you_mean(&name.value, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "add it: `networks: {{ {}: {{ addresses: […] }} }}`",
                name.value
            ),
        };
        once(
            Diagnostic::error(name.span, message).help(help),
            diagnostics,
        );
    }
    found.into()
}
