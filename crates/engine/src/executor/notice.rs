//! The words of what Kapell tells the agent. The facts are on record; only the wording is here.
//!
//! Decides nothing and stores nothing. Start at [`words`].

use super::Job;
use super::text::{head, tail};
use contract::context::Summary;
use contract::event::{Notice, TaskState};
use contract::intent::ChildEnd;
use contract::{Digest, Fault, SessionId, limits};
use std::fmt::Write as _;

/// Bytes of a notice; reservations count on it.
const MOST: usize = limits::NOTICE_BYTES as usize;

/// A notice as the model reads it, of at most `limits::NOTICE_BYTES`.
pub(super) async fn words(job: &Job, notice: &Notice) -> Result<String, Fault> {
    let text = match notice {
        Notice::NotConfirmed { reasons, logs } => not_confirmed(job, reasons, logs).await?,
        Notice::NotIntegrated { why, detail } => not_integrated(job, why, *detail).await?,
        Notice::Workaround { signature } => format!(
            "The same failure came again and again ({signature}). Do not try the same thing once more: take \
             another way, or call `finish` with status \"blocked\" and say what stands in the way."
        ),
        Notice::NextTask { task, goal } => format!(
            "The next task of the plan is `{task}`:\n\n{}\n\nWork on this task only; call `finish` when it is done.",
            head(job.text(*goal).await?, MOST / 2)
        ),
        Notice::Rewound { to } => format!(
            "The workspace was put back to what it was before action {to}. Files you changed since then are as \
             they were; read again what you rely on."
        ),
        Notice::ReplyCut => {
            "Your reply was cut at its limit. Go on where it stopped, in smaller pieces.".to_owned()
        }
        Notice::ChildEnded { child, end } => child_ended(job, *child, end).await?,
        // Bounded by itself.
        Notice::Compacted { summary } => return compacted(job, summary).await,
        Notice::Hook { text, .. } => job.text(*text).await?,
        Notice::Told { what } => what.clone(),
    };
    Ok(head(text, MOST))
}

/// What stands in the place of what is not shown any more: every line within `limits::SUMMARY_LINE_BYTES`.
async fn compacted(job: &Job, summary: &Summary) -> Result<String, Fault> {
    const LINE: usize = limits::SUMMARY_LINE_BYTES as usize;
    /// Bytes of arguments, goals and messages in a line; the rest is for the words around them.
    const QUOTE: usize = 120;
    let quote = async |digest: Digest| -> Result<String, Fault> {
        let text = job.text(digest).await?;
        let one = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(head(one, QUOTE).trim_end().to_owned())
    };
    let mut text = format!(
        "[{} earlier entries of this conversation are not shown any more; `read blob:...` shows a result. In short:]",
        summary.entries
    );
    if let Some(words) = summary.text {
        let words = job.text(words).await?;
        text.push_str("\n[What a model noted of them:]\n");
        text.push_str(words.trim_end());
        text.push_str("\n[What was done in them:]");
    }
    let mut line = |words: String| {
        text.push('\n');
        text.push_str(head(words, LINE - 1).trim_end());
    };
    if summary.more > 0 {
        line(format!("- {} calls before these", summary.more));
    }
    for act in &summary.acts {
        let how = if act.ok { "ok" } else { "failed" };
        let whole = act.result.map(|result| format!(", blob:{result}")).unwrap_or_default();
        line(format!("- {} {}: {how}{whole}", act.tool, quote(act.args).await?));
    }
    for message in &summary.messages {
        line(format!("- the person wrote: {} (blob:{message})", quote(*message).await?));
    }
    for (task, goal, state) in &summary.tasks {
        let state = if *state == TaskState::Active { "is being worked on" } else { "is to be done" };
        let whose =
            if task.is_empty() { "on your to-do list".into() } else { format!("task `{task}` of the plan") };
        line(format!("- {whose} {state}: {}", quote(*goal).await?));
    }
    Ok(text)
}

async fn not_confirmed(job: &Job, reasons: &[String], logs: &[(String, Digest)]) -> Result<String, Fault> {
    let mut text = "Kapell ran the checks on your result. It is not confirmed:\n".to_owned();
    for reason in reasons {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "- {reason}");
    }
    let mut text = head(text, MOST / 4);
    let each = limits::LOG_TAIL_BYTES.min(MOST / 2 / logs.len().max(1));
    for (check, log) in logs {
        let bytes = job.ports.blobs.blob(*log).await?;
        let (end, cut) = tail(&bytes, each);
        let which = if cut { format!("the end of its log, blob:{log}") } else { "its log".to_owned() };
        let _ = write!(text, "\n`{check}`, {which}:\n```\n{}\n```\n", end.trim_end());
    }
    text.push_str("\nMend what is wrong with the work, never the checks, and call `finish` again.");
    Ok(text)
}

async fn not_integrated(job: &Job, why: &str, detail: Option<Digest>) -> Result<String, Fault> {
    let mut text = match why {
        "conflict" => {
            "Your result is confirmed, but the branch it should land on has moved and conflicts with it."
        }
        "checks" => {
            "Your result is confirmed, but merged with what the branch has got since, its checks fail."
        }
        other => return Ok(format!("Your result is confirmed but did not land: {other}.")),
    }
    .to_owned();
    if let Some(detail) = detail {
        let bytes = job.ports.blobs.blob(detail).await?;
        let (end, _) = tail(&bytes, limits::LOG_TAIL_BYTES);
        let _ = write!(text, "\n```\n{}\n```", end.trim_end());
    }
    text.push_str("\nChange your work so that both fit together, and call `finish` again.");
    Ok(text)
}

async fn child_ended(job: &Job, child: SessionId, end: &ChildEnd) -> Result<String, Fault> {
    let left =
        if end.commit.is_some() { "Its result is confirmed." } else { "It left nothing to take over." };
    let mut text =
        format!("The child session {child} has ended: {} (exit code {}). {left}", end.state, end.code);
    if let Some(summary) = end.summary {
        let summary = head(job.text(summary).await?, MOST / 2);
        let _ = write!(text, "\nIts own last words, which prove nothing:\n{summary}");
    }
    Ok(text)
}
