//! `approve` and `deny`: a yes or no to exactly the content that is shown, from any terminal. A yes names what it is to,
//! or is given where it is shown.
//!
//! Start at [`run`].

use super::always::{self, Scope};
use super::tell::{Taken, report, tell};
use super::work::leave;
use crate::app::{App, Wired};
use crate::exit::{self, Failure};
use crate::out;
use crate::pick::{self, short};
use crate::show::asked::Asked;
use crate::tree::{Blocker, Need, Tree};
use contract::SessionId;
use contract::intent::Wish;
use kernel::fsm::ApprovalState;
use std::io::BufRead;

/// What a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Say {
    /// To this, once.
    Yes,
    /// To this, and a rule for what it runs.
    Always,
    /// To this, and a rule for what it runs while this session lives.
    Session,
    /// No.
    No,
}

/// Which approval is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which<'a> {
    /// The one of this name: it was shown, or its name would not be known. No two of a session have the same.
    Named(&'a str),
    /// The one that waits, once the person has looked at it.
    Shown,
    /// The one that waits, whatever it is.
    Any,
}

/// Answers an approval; the exit code.
pub(crate) async fn run(app: &App, name: &str, which: Which<'_>, say: Say) -> Result<u8, Failure> {
    let wired = app.wire_to_tell()?;
    let done = answer(app, &wired, name, which, say).await;
    leave(wired).await;
    done
}

async fn answer(app: &App, wired: &Wired, name: &str, which: Which<'_>, say: Say) -> Result<u8, Failure> {
    let session = pick::session(&*wired.store, name).await?;
    let tree = Tree::open(&wired.engine, session).await?;
    let wanted = match which {
        Which::Named(name) => Some(name),
        Which::Shown | Which::Any => None,
    };
    let (session, approval) = find(&tree, session, wanted)?;
    let Some(state) = tree.get(session) else { return Err(nothing(session, &[])) };
    let blocker = Blocker { session, kind: Need::Approval(approval.clone()) };
    let asked = Asked::of(&*wired.store, state, &blocker).await.ok_or_else(|| nothing(session, &[]))?;
    if which == Which::Shown && !seen(app, &asked)? {
        out::print("nothing was approved\n");
        return Ok(exit::NEEDS_YOU);
    }
    let (hash, yes) = (asked.hash.unwrap_or_default(), say != Say::No);
    let rules = match say {
        Say::Always | Say::Session => always::rules(app, &*wired.store, state, &approval).await?,
        _ => Vec::new(),
    };
    if !app.global.json && !app.global.quiet {
        out::print(&format!("{} {approval}: {}\n", if yes { "approving" } else { "denying" }, asked.title));
        asked.content.lines().for_each(|line| out::print(&format!("    {line}\n")));
    }
    let (wish, word) = match yes {
        true => (Wish::Approve { approval: approval.clone(), hash }, "granted, once and for exactly this"),
        false => (Wish::Deny { approval: approval.clone() }, "denied"),
    };
    let verb = wish.name();
    let told = tell(app, wired, session, wish, Vec::new()).await?;
    // An answer that came too late is no yes, and makes no rule.
    if !matches!(told.taken, Taken::Refused(_)) {
        let repo = state.spec.as_ref().map(|spec| spec.repo.clone()).unwrap_or_default();
        let scope = if say == Say::Session { Scope::Session(tree.root) } else { Scope::Repo(&repo) };
        always::write(app, &rules, &scope)?;
    }
    let next = format!("kapell resume {}", short(tree.root));
    report(app, session, verb, &told, &format!("approval {approval} {word}"), &next)
}

/// Does the person who looks at it now say yes? Another one than they saw before may wait by now, so that nobody who
/// cannot be shown it agrees to it by the session alone.
fn seen(app: &App, asked: &Asked) -> Result<bool, Failure> {
    let page: String = asked.content.lines().map(|line| format!("    {line}\n")).collect();
    if !app.term.can_ask() || app.global.json {
        let what = format!("a yes is to something that was shown: {} {}\n{page}", asked.id, asked.title);
        let yes = asked.commands.first().cloned().unwrap_or_default();
        return Err(Failure::usage("which-approval", what.trim_end(), yes));
    }
    out::print(&format!("approval {}: {}\n{page}yes / no? ", asked.id, asked.title));
    // What was typed before it was shown is no answer to it.
    let _ = rustix::termios::tcflush(std::io::stdin(), rustix::termios::QueueSelector::IFlush);
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    Ok(read.is_ok() && ["y", "yes"].contains(&line.trim().to_lowercase().as_str()))
}

/// The approval that is meant: in the named session, else in one below it.
pub(super) fn find(
    tree: &Tree,
    named: SessionId,
    wanted: Option<&str>,
) -> Result<(SessionId, String), Failure> {
    let pending = |state: &kernel::Session| -> Vec<(SessionId, String)> {
        let waits = state.approvals.iter().filter(|(_, approval)| approval.state == ApprovalState::Pending);
        waits.map(|(id, _)| (state.id, id.clone())).collect()
    };
    let own = tree.get(named).map(pending).unwrap_or_default();
    let below: Vec<_> = tree.sessions().filter(|state| state.id != named).flat_map(pending).collect();
    let all: Vec<_> = own.iter().chain(&below).cloned().collect();
    let found: Vec<_> = match wanted {
        Some(wanted) => all.iter().filter(|(_, id)| id == wanted).cloned().collect(),
        None => {
            if own.is_empty() {
                below
            } else {
                own
            }
        }
    };
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => Err(nothing(named, &all)),
        several => {
            let what = format!("{} approvals wait: say which one", several.len());
            Err(Failure::usage("several-approvals", what, list(several)))
        }
    }
}

fn nothing(session: SessionId, others: &[(SessionId, String)]) -> Failure {
    let hint = match others {
        [] => format!("kapell sessions show {} tells what it waits for", short(session)),
        others => list(others),
    };
    Failure::usage("no-approval", format!("session {} waits for no such approval", short(session)), hint)
}

fn list(approvals: &[(SessionId, String)]) -> String {
    let named: Vec<String> =
        approvals.iter().map(|(session, id)| format!("kapell approve {} {id}", short(*session))).collect();
    named.join(", or ")
}
