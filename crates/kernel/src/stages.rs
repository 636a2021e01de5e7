//! The workflow's edges: what happens when a stage needs no action, and where the session goes from it.
//!
//! Knows stages and the plan; starts nothing. Start at [`Draft::step_stage`].

use crate::Illegal;
use crate::decide::Draft;
use contract::event::{Answer, Event, Final, Notice, TaskState};
use contract::session::{Edge, StageKind};

impl Draft<'_> {
    /// The current stage needs no action: take an edge.
    pub(crate) fn step_stage(&mut self) -> Result<bool, Illegal> {
        match self.s.stage().map(|stage| stage.kind) {
            Some(StageKind::Agent) => self.agent_yielded()?,
            Some(StageKind::Plan) => self.next_task()?,
            Some(StageKind::Inspect) if self.landing_agreed() => {
                self.take("a person approved the flagged change")?;
            }
            Some(StageKind::Inspect | StageKind::Integrate) => {
                self.end(Final::Failed, 4, "nothing was confirmed, so nothing can land")?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn landing_agreed(&self) -> bool {
        let word = self.s.verdict.as_ref().and_then(|judged| self.s.land_word(&judged.result));
        word == Some(Answer::Granted)
    }

    fn agent_yielded(&mut self) -> Result<(), Illegal> {
        match self.s.finish.clone() {
            Some(finish) if !finish.done => {
                let needs = finish.needs.as_str();
                let missing = match needs {
                    "" | "you" => "you".to_owned(),
                    other => format!("a {}", other.replace('-', " ")),
                };
                let what = format!("the agent cannot go on: it needs {missing}");
                let hint = match needs {
                    "language-model" => format!("kapell resume {} --model PROVIDER/NAME", self.s.id),
                    _ => format!("kapell resume {} \"your instructions\"", self.s.id),
                };
                self.pause("needs-model", &what, &hint, 8)
            }
            _ => self.take("the agent yielded"),
        }
    }

    /// Takes the ok edge of the current stage.
    pub(crate) fn take(&mut self, why: &str) -> Result<(), Illegal> {
        let Some(stage) = self.s.stage() else { return Ok(()) };
        match stage.ok.clone() {
            Edge::End => self.end(Final::Completed, 0, why),
            Edge::To(to) => self.emit(Event::Staged { to, round: self.s.round, why: why.to_owned() }),
        }
    }

    /// Back to the agent with something to think about; bounded rounds.
    pub(crate) fn feedback(&mut self, notice: Notice, why: &str) -> Result<(), Illegal> {
        let Some(stage) = self.s.stage().cloned() else { return Ok(()) };
        let Edge::To(to) = stage.fail else { return self.end(Final::Failed, 1, why) };
        self.emit(Event::Staged { to, round: self.s.round + 1, why: why.to_owned() })?;
        self.emit(Event::Noticed { notice })
    }

    pub(crate) fn go_to_agent(&mut self, why: &str, round: u32) -> Result<(), Illegal> {
        let stages = self.s.spec.iter().flat_map(|spec| &spec.workflow.stages);
        let agent =
            stages.into_iter().find(|stage| stage.kind == StageKind::Agent).map(|stage| stage.name.clone());
        match agent {
            Some(to) => self.emit(Event::Staged { to, round, why: why.to_owned() }),
            None => Ok(()),
        }
    }

    /// The plan stage: mark the active task done, take the next one, or end.
    fn next_task(&mut self) -> Result<(), Illegal> {
        if let Some(active) = self.s.plan.active().map(|task| task.id.clone()) {
            self.emit(Event::TaskMoved { task: active, to: TaskState::Done })?;
        }
        let Some(task) = self.s.plan.next().cloned() else {
            let why = self.closing_words();
            return self.end(Final::Completed, 0, &why);
        };
        self.emit(Event::TaskMoved { task: task.id.clone(), to: TaskState::Active })?;
        self.go_to_agent(&format!("next task: {}", task.id), 0)?;
        self.emit(Event::Noticed { notice: Notice::NextTask { task: task.id, goal: task.goal } })
    }

    /// A task that was given up, and everything that can never begin because of it.
    pub(crate) fn give_up_task(&mut self) -> Result<(), Illegal> {
        let Some(active) = self.s.plan.active().map(|task| task.id.clone()) else { return Ok(()) };
        self.emit(Event::TaskMoved { task: active, to: TaskState::Failed })?;
        while let Some(task) = self.s.plan.blocked().first().map(|task| task.id.clone()) {
            self.emit(Event::TaskMoved { task, to: TaskState::Skipped })?;
        }
        Ok(())
    }

    /// Checks that were not found, on a tree that did not change: an answer needs no proof.
    pub(crate) fn nothing_changed(&mut self) -> Result<(), Illegal> {
        let stages = self.s.spec.iter().flat_map(|spec| &spec.workflow.stages);
        let plan = stages.into_iter().find(|stage| stage.kind == StageKind::Plan);
        match plan.map(|stage| stage.name.clone()) {
            Some(to) => {
                self.emit(Event::Staged { to, round: self.s.round, why: "nothing was changed".into() })
            }
            None => self.end(Final::Completed, 0, "nothing was changed"),
        }
    }

    fn closing_words(&self) -> String {
        match (&self.s.landed, &self.s.left_on, &self.s.verdict) {
            (_, Some(branch), _) => format!("confirmed; left on branch {branch}, as asked"),
            (Some(commit), ..) => format!("confirmed and landed as {}", commit.get(..12).unwrap_or(commit)),
            (_, _, Some(judged)) if judged.same_tree && judged.no_checks => "nothing was changed".into(),
            (_, _, Some(judged)) if judged.same_tree => {
                "nothing had to be changed: the checks pass already".into()
            }
            (_, _, Some(_)) => "confirmed".into(),
            (_, _, None) => "the workflow came to its end".into(),
        }
    }
}
