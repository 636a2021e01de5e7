//! Looks one after the other: for a process that stays, and to the end of what is due now.
//!
//! Knows no signal and no terminal: who calls says when to stop, and hears what happens. Start at [`serve`].

use crate::jobs;
use crate::looper::{Looper, News};
use contract::{Fault, Timestamp};
use std::time::Duration;

/// Between two looks while jobs are under way.
pub const BUSY: Duration = Duration::from_millis(500);
/// The longest between two looks: somebody may have changed the file.
pub const CALM: Duration = Duration::from_secs(5);

/// What following the loop to its end came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Came {
    /// Exit code of the first job that failed; 0: none did.
    pub code: u8,
    /// Something could not be done.
    pub troubled: bool,
    /// Something waits for a person.
    pub waits: bool,
}

/// Looks whenever something may have come, until `stop` resolves. What goes wrong in a look is told and tried again: a
/// file that somebody is writing, a store that is busy. What runs is left to who stops the engine.
pub async fn serve(looper: &mut Looper<'_>, mut tell: impl FnMut(&News), stop: impl Future<Output = ()>) {
    tokio::pin!(stop);
    let mut trouble = String::new();
    loop {
        // Whatever a look has not come to, the next one does, in this process or another.
        let looked = tokio::select! {
            biased;
            () = &mut stop => return,
            looked = Box::pin(looper.look()) => looked,
        };
        let wait = match looked {
            Ok(look) => {
                trouble.clear();
                look.news.iter().for_each(&mut tell);
                let busy = look.jobs.iter().any(|(_, rests)| !rests);
                if busy { BUSY } else { until(look.next, looper.now()).min(CALM) }
            }
            Err(fault) => {
                let why = fault.to_string();
                if why != trouble {
                    tell(&News::new("trouble", "loop", why.clone()));
                    trouble = why;
                }
                CALM
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = &mut stop => return,
        }
    }
}

/// How long it is until the next slot.
pub fn until(next: Option<Timestamp>, now: Timestamp) -> Duration {
    next.map_or(CALM, |next| Duration::from_millis(next.since(now)))
}

/// Until nothing is due and every job has ended or waits for a person.
pub async fn to_the_end(looper: &mut Looper<'_>, mut tell: impl FnMut(&News)) -> Result<Came, Fault> {
    let (mut came, mut untrusted) = (Came::default(), false);
    loop {
        let look = Box::pin(looper.look()).await?;
        for news in &look.news {
            tell(news);
            came.troubled |= news.what == "trouble";
            untrusted |= news.what == "untrusted";
            came.code = if came.code == 0 { news.code.unwrap_or(0) } else { came.code };
        }
        let fired = look.news.iter().any(|news| matches!(news.what, "fired" | "ended"));
        if jobs::settled(&look.jobs) && !fired {
            return Ok(Came { waits: untrusted || !look.jobs.is_empty(), ..came });
        }
        tokio::time::sleep(BUSY).await;
    }
}
