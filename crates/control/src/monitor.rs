//! Looking at stacks again and again, and telling what changed: what `ashlar monitor` does, and a thread of a running stack.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::alerts::{Alert, Before, Rules, alerts};
use crate::client::Client;
use crate::delivery::Delivery;
use crate::document::StackStatus;
use crate::mdstat::mdstat;

/// How often a running stack looks at itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a stack may take to say how it stands.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long a stack that stops waits until the last alerts are delivered.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What was seen of each stack at the last look.
#[derive(Default)]
pub struct Lookout {
    seen: BTreeMap<String, Option<StackStatus>>,
    looked: bool,
}

impl Lookout {
    /// Compares what is seen now of the stack of this name with the last look at it.
    pub fn look(&mut self, name: &str, now: Option<StackStatus>, rules: &Rules) -> Vec<Alert> {
        let before = match self.seen.get(name) {
            Some(Some(stack)) => Before::Ran(stack),
            Some(None) => Before::Absent,
            None if self.looked => Before::Absent,
            None => Before::FirstLook,
        };
        let found = alerts(before, now.as_ref(), rules);
        self.seen.insert(name.to_owned(), now);
        found
    }

    /// The first look at everything is over: what comes from now on is new.
    pub fn has_looked(&mut self) {
        self.looked = true;
    }

    /// The names of what ran at the last look.
    pub fn names(&self) -> Vec<String> {
        let ran = self.seen.iter().filter(|(_, seen)| seen.is_some());
        ran.map(|(name, _)| name.clone()).collect()
    }

    /// How everything stood, as `/proc/mdstat` would show it.
    pub fn mdstat(&self) -> String {
        let stacks: Vec<StackStatus> = self.seen.values().flatten().cloned().collect();
        mdstat(&stacks)
    }
}

/// A thread that watches the stack of its own process.
pub struct Monitor {
    last: SyncSender<StackStatus>,
    over: Receiver<()>,
}

impl Monitor {
    /// Watches the stack that `client` speaks to, and has delivered what happens. What goes wrong is said to `complain`.
    pub fn start(
        client: Client,
        rules: Rules,
        delivery: Delivery,
        complain: fn(&str),
    ) -> io::Result<Monitor> {
        let (last, asked) = sync_channel(1);
        let (ended, over) = sync_channel(1);
        let client = client.within(ANSWER_WITHIN);
        thread::Builder::new().name("monitor".to_owned()).spawn(move || {
            watch(&client, &rules, &delivery, &asked, complain);
            delivery.finish();
            let _ = ended.send(()); // whoever waited may have given up
        })?;
        Ok(Monitor { last, over })
    }

    /// The stack stops, and stood so at last: what changed is still told, unless that takes too long.
    pub fn stop(self, last: StackStatus) {
        let _ = self.last.send(last); // a thread that has ended needs no more
        let _ = self.over.recv_timeout(LAST_WORDS);
    }
}

fn watch(
    client: &Client,
    rules: &Rules,
    delivery: &Delivery,
    asked: &Receiver<StackStatus>,
    complain: fn(&str),
) {
    let mut lookout = Lookout::default();
    loop {
        let (status, is_last) =
            match asked.recv_timeout(if lookout.looked { LOOK_EVERY } else { Duration::ZERO }) {
                Ok(status) => (Some(status), true),
                // One that does not answer is asked again; one that stops says so.
                Err(RecvTimeoutError::Timeout) => (client.status().ok(), false),
                Err(RecvTimeoutError::Disconnected) => return,
            };
        if let Some(status) = status {
            let name = status.name.clone();
            for alert in lookout.look(&name, Some(status), rules) {
                if !delivery.send(alert.clone(), lookout.mdstat()) {
                    complain(&format!("{alert}: nobody was told, as too many alerts wait already"));
                }
            }
            lookout.has_looked();
        }
        if is_last {
            return;
        }
    }
}
