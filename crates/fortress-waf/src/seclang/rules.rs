//! Rules and chains: which action may stand where, and how links make a rule.

use super::{
    Action, Link, Operator, Phase, Place, Template, Test,
    actions::{self, ActionAt},
    lexer::Argument,
    mistake::{Notes, Wrong},
    operators::{self, ReadData},
    targets,
};

/// The link that a `SecRule` makes. `notes` has one entry for each argument.
pub(super) fn rule(
    place: &Place,
    words: &[Argument],
    read: &mut ReadData<'_>,
    notes: &mut [Notes],
) -> Result<(Link, Vec<usize>), Wrong> {
    let (looked_at, asked, done) = match words {
        [looked_at, asked] => (looked_at, asked, None),
        [looked_at, asked, done] => (looked_at, asked, Some(done)),
        _ => {
            return Err(Wrong::new(format!(
                "`SecRule` has variables, an operator and actions, the last two in quotes; there are {} arguments",
                words.len()
            )));
        }
    };
    let [of_targets, of_test, rest @ ..] = notes else {
        return Err(Wrong::new("an argument is missing"));
    };
    let targets = targets::list(&looked_at.text, of_targets);
    if of_targets.wrong.is_empty() && targets.iter().all(|target| target.excluded) {
        of_targets.wrong.push((
            0,
            Wrong::new("nothing is looked at: every target is taken away by `!`"),
        ));
    }
    let test = operators::test(&asked.text, read, of_test).unwrap_or_else(|wrong| {
        of_test.wrong.push((0, wrong));
        always()
    });
    let (offsets, actions) = match (done, rest.first_mut()) {
        (Some(done), Some(notes)) => actions::list(&done.text, notes).into_iter().unzip(),
        _ => (Vec::new(), Vec::new()),
    };
    let link = Link {
        place: place.clone(),
        targets,
        test,
        actions,
    };
    Ok((link, offsets))
}

/// The link that a `SecAction` makes.
pub(super) fn action(place: &Place, done: &Argument, notes: &mut Notes) -> (Link, Vec<usize>) {
    let (offsets, actions) = actions::list(&done.text, notes).into_iter().unzip();
    let link = Link {
        place: place.clone(),
        targets: Vec::new(),
        test: always(),
        actions,
    };
    (link, offsets)
}

fn always() -> Test {
    Test {
        negated: false,
        operator: Operator::UnconditionalMatch,
        argument: Template::default(),
        lines: Vec::new(),
    }
}

/// Where in a chain a link stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Position<'a> {
    First,
    Later { starter: &'a Link },
}

/// Whether a link's actions may stand where it stands; its id, if it has one. `offsets` are those
/// of the actions in their list.
pub(super) fn id_of(
    link: &Link,
    offsets: &[usize],
    position: Position<'_>,
    notes: &mut Notes,
) -> Option<u64> {
    let (mut id, mut phase) = (None, None);
    for (action, at) in link.actions.iter().zip(offsets) {
        let mut wrong = |message: String| notes.wrong.push((*at, Wrong::new(message)));
        match (action, position) {
            (Action::Id(_), Position::Later { .. }) => {
                wrong("only the first rule of a chain has an id".to_owned());
            }
            (Action::Id(_), Position::First) if id.is_some() => {
                wrong("the rule has two ids".to_owned());
            }
            (Action::Id(written), Position::First) => id = Some(*written),
            (Action::Phase(written), Position::First) => {
                if phase.is_some_and(|phase| phase != *written) {
                    wrong("the rule has two phases".to_owned());
                }
                phase = Some(*written);
            }
            (Action::Phase(written), Position::Later { starter })
                if phase_of(&starter.actions) != *written =>
            {
                wrong("the phase differs from that of the chain's first rule".to_owned());
            }
            (action, Position::Later { .. }) if is_disruptive(action) || is_flow(action) => {
                wrong(
                    "what happens is said by the first rule of a chain: disruptive actions and \
                     `skip` cannot stand here"
                        .to_owned(),
                );
            }
            _ => {}
        }
    }
    id
}

/// The phase, which is 2 if none is said.
fn phase_of(actions: &[Action]) -> Phase {
    let mut phase = Phase::RequestBody;
    for action in actions {
        if let Action::Phase(written) = action {
            phase = *written;
        }
    }
    phase
}

/// Whether another link follows.
pub(super) fn is_chained(link: &Link) -> bool {
    has(&link.actions, |action| matches!(action, Action::Chain))
}

/// The actions of a `SecDefaultAction`, and its phase.
pub(super) fn defaults(
    actions: Vec<ActionAt>,
    notes: &mut Notes,
) -> Result<(Phase, Vec<Action>), Wrong> {
    let mut phase = None;
    let mut kept = Vec::new();
    for (at, action) in actions {
        if let Action::Phase(written) = action {
            phase = Some(written);
        } else if is_identity(&action) || is_flow(&action) || matches!(action, Action::Chain) {
            let message = "an action that belongs to a single rule cannot be a default";
            notes.wrong.push((at, Wrong::new(message)));
        } else {
            kept.push(action);
        }
    }
    if !notes.wrong.is_empty() {
        return Ok((phase.unwrap_or(Phase::RequestBody), kept));
    }
    if !has(&kept, is_disruptive) {
        return Err(Wrong::new(
            "`SecDefaultAction` needs a disruptive action such as `pass` or `deny`",
        ));
    }
    match phase {
        Some(phase) => Ok((phase, kept)),
        None => Err(Wrong::new("`SecDefaultAction` needs a phase")),
    }
}

/// The actions of a `SecRuleUpdateActionById`.
pub(super) fn updates(actions: Vec<ActionAt>, notes: &mut Notes) -> Vec<Action> {
    if actions.is_empty() && notes.wrong.is_empty() {
        notes.wrong.push((0, Wrong::new("an action is missing")));
    }
    let mut kept = Vec::new();
    for (at, action) in actions {
        if matches!(action, Action::Id(_) | Action::Phase(_) | Action::Chain) {
            let message = "a rule's id, phase and chain cannot be changed";
            notes.wrong.push((at, Wrong::new(message)));
        } else {
            kept.push(action);
        }
    }
    kept
}

fn has(actions: &[Action], is: fn(&Action) -> bool) -> bool {
    actions.iter().any(is)
}

fn is_disruptive(action: &Action) -> bool {
    matches!(
        action,
        Action::Allow(_)
            | Action::Block
            | Action::Deny
            | Action::Drop
            | Action::Pass
            | Action::Redirect(_)
    )
}

fn is_flow(action: &Action) -> bool {
    matches!(action, Action::Skip(_) | Action::SkipAfter(_))
}

fn is_identity(action: &Action) -> bool {
    matches!(
        action,
        Action::Id(_)
            | Action::Message(_)
            | Action::LogData(_)
            | Action::Revision(_)
            | Action::Version(_)
            | Action::Severity(_)
            | Action::Accuracy(_)
            | Action::Maturity(_)
    )
}
