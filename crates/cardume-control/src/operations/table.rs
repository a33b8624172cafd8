//! The table of operations.
use std::{
    collections::{BTreeMap, VecDeque},
    time::{SystemTime, UNIX_EPOCH},
};

use cardume_api::{Failure, Kind, Operation, Outcome, Phase, Progress, State};
use tokio_util::sync::CancellationToken;

/// Ended operations kept, for callers that come back to ask.
const KEPT: usize = 256;

#[derive(Default)]
pub(super) struct Table {
    begun: u64,
    running: BTreeMap<String, Running>,
    ended: VecDeque<Operation>,
    /// How many have ended, of which kind and how; also those that are not kept any more.
    counts: Vec<(Kind, State, u64)>,
}

struct Running {
    operation: Operation,
    cancel: CancellationToken,
}

impl Table {
    pub(super) fn begin(
        &mut self,
        epoch: &str,
        kind: Kind,
        subject: String,
        cancel: CancellationToken,
    ) -> Operation {
        self.begun += 1;
        let operation = Operation {
            // Padded, so that ids sort by age.
            id: format!("{epoch}-{:06}", self.begun),
            kind,
            subject,
            state: State::Running,
            progress: Progress::default(),
            result: None,
            error: None,
            started: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
        };
        let running = Running {
            operation: operation.clone(),
            cancel,
        };
        self.running.insert(operation.id.clone(), running);
        operation
    }

    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// How many have ended since the start, by kind and state; none where none have.
    pub(super) fn counts(&self) -> Vec<(Kind, State, u64)> {
        self.counts.clone()
    }

    fn count(&mut self, kind: Kind, state: State) {
        let known = self.counts.iter_mut().find(|row| (row.0, row.1) == (kind, state));
        match known {
            Some((_, _, count)) => *count += 1,
            None => self.counts.push((kind, state, 1)),
        }
    }

    /// Those that have ended, then those that run, each oldest first.
    pub(super) fn list(&self) -> Vec<Operation> {
        let running = self.running.values().map(|running| &running.operation);
        self.ended.iter().chain(running).cloned().collect()
    }

    pub(super) fn find(&self, id: &str) -> Option<Operation> {
        let running = self.running.get(id).map(|running| &running.operation);
        running
            .or_else(|| self.ended.iter().find(|operation| operation.id == id))
            .cloned()
    }

    /// What cancels an operation; inside, none if it has ended.
    pub(super) fn cancellation(&self, id: &str) -> Option<Option<CancellationToken>> {
        match self.running.get(id) {
            Some(running) => Some(Some(running.cancel.clone())),
            None => self.find(id).map(|_| None),
        }
    }

    pub(super) fn advance(&mut self, id: &str, progress: Progress) -> Option<Operation> {
        let running = self.running.get_mut(id)?;
        if running.operation.progress == progress {
            return None;
        }
        running.operation.progress = progress;
        Some(running.operation.clone())
    }

    /// Ends an operation if it runs.
    pub(super) fn end(
        &mut self,
        id: &str,
        state: State,
        result: Result<Outcome, Failure>,
    ) -> Option<Operation> {
        let mut operation = self.running.remove(id)?.operation;
        operation.state = state;
        operation.progress.phase = Phase::Done;
        match result {
            Ok(outcome) => operation.result = Some(outcome),
            Err(failure) => operation.error = Some(failure),
        }
        self.count(operation.kind, state);
        if self.ended.len() == KEPT {
            self.ended.pop_front();
        }
        self.ended.push_back(operation.clone());
        Some(operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_operations_are_forgotten_and_running_ones_never() {
        let mut table = Table::default();
        let begin = |table: &mut Table| {
            table
                .begin("e", Kind::Share, String::new(), CancellationToken::new())
                .id
        };
        let running = begin(&mut table);
        let first = begin(&mut table);
        let failure = Failure {
            code: cardume_api::Code::Failed,
            detail: String::new(),
        };
        table.end(&first, State::Failed, Err(failure.clone()));
        for _ in 0..KEPT {
            let id = begin(&mut table);
            table.end(&id, State::Failed, Err(failure.clone()));
        }
        assert_eq!(table.find(&first), None);
        assert!(table.find(&running).is_some());
        assert_eq!(table.list().len(), KEPT + 1);
        assert_eq!(
            table.counts(),
            [(Kind::Share, State::Failed, KEPT as u64 + 1)],
            "but they are counted"
        );
    }
}
