use std::path::PathBuf;
use std::time::Duration;

use api::internal::{StatusUpdate, status_update_record};
use api::v1::task_status::Source;
use api::v1::{FrameworkId, TaskId, TaskState, TaskStatus};

use super::streams::*;

fn key(task: &str) -> TaskKey {
    TaskKey { framework_id: FrameworkId::from("f"), task_id: TaskId::from(task) }
}

fn update(task: &str, n: u8, state: TaskState) -> StatusUpdate {
    let key = key(task);
    StatusUpdate {
        framework_id: key.framework_id,
        status: TaskStatus { task_id: key.task_id, state: state as i32, ..Default::default() },
        uuid: Some(vec![n; 16]),
        ..Default::default()
    }
}

/// The effects in a word each: `+1` stored, `-1` acknowledged on disk, `>1` sent, `@10` the wait in seconds.
fn told(effects: &[Effect]) -> String {
    let word = |effect: &Effect| match effect {
        Effect::Append { record, .. } if record.r#type == status_update_record::Type::Ack as i32 => {
            format!("-{}", record.uuid.as_ref().unwrap()[0])
        }
        Effect::Append { record, .. } => {
            format!("+{}", record.update.as_ref().unwrap().uuid.as_ref().unwrap()[0])
        }
        Effect::Forward(update) => format!(">{}", update.uuid.as_ref().unwrap()[0]),
        Effect::Retry { after, .. } => format!("@{}", after.as_secs()),
    };
    effects.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn running() -> Streams {
    let mut streams = Streams::default();
    assert_eq!(streams.resume(), []);
    streams
}

fn file() -> Option<PathBuf> {
    Some("task.updates".into())
}

#[test]
fn only_the_oldest_update_of_a_task_is_on_its_way_and_it_is_stored_before_it_is_sent() {
    let mut streams = running();
    let take =
        |streams: &mut Streams, n, state| told(&streams.update(update("t", n, state), file()).unwrap());
    assert_eq!(take(&mut streams, 1, TaskState::TaskStarting), "+1 >1 @10");
    assert_eq!(take(&mut streams, 2, TaskState::TaskRunning), "+2");
    assert_eq!(take(&mut streams, 3, TaskState::TaskFinished), "+3");
    let done = streams.acknowledge(&key("t"), &[1; 16]).unwrap();
    assert_eq!((told(&done.effects).as_str(), done.terminal), ("-1 >2 @10", false));
    assert_eq!(told(&streams.acknowledge(&key("t"), &[2; 16]).unwrap().effects), "-2 >3 @10");
    let done = streams.acknowledge(&key("t"), &[3; 16]).unwrap();
    assert_eq!((told(&done.effects).as_str(), done.terminal), ("-3", true));
    assert!(streams.waiting().is_empty());
}

#[test]
fn tasks_do_not_wait_for_each_other() {
    let mut streams = running();
    assert_eq!(told(&streams.update(update("a", 1, TaskState::TaskRunning), None).unwrap()), ">1 @10");
    assert_eq!(told(&streams.update(update("b", 2, TaskState::TaskRunning), None).unwrap()), ">2 @10");
}

#[test]
fn the_wait_doubles_up_to_ten_minutes_and_a_new_head_begins_at_ten_seconds() {
    let mut streams = running();
    streams.update(update("t", 1, TaskState::TaskRunning), None).unwrap();
    let waits: Vec<_> = (0..8).map(|_| told(&streams.timeout(&key("t"), &[1; 16]))).collect();
    assert_eq!(
        waits,
        ["20", "40", "80", "160", "320", "600", "600", "600"].map(|wait| format!(">1 @{wait}"))
    );
    streams.update(update("t", 2, TaskState::TaskFinished), None).unwrap();
    assert_eq!(told(&streams.acknowledge(&key("t"), &[1; 16]).unwrap().effects), ">2 @10");
    assert_eq!(streams.timeout(&key("t"), &[1; 16]), [], "a timer of an acknowledged update says nothing");
    assert!(RETRY_INTERVAL_MAX == Duration::from_secs(600));
}

#[test]
fn a_repetition_is_taken_without_effect_before_and_after_its_acknowledgement() {
    let mut streams = running();
    streams.update(update("t", 1, TaskState::TaskRunning), file()).unwrap();
    assert_eq!(streams.update(update("t", 1, TaskState::TaskRunning), file()), Ok(vec![]));
    streams.acknowledge(&key("t"), &[1; 16]).unwrap();
    assert_eq!(streams.update(update("t", 1, TaskState::TaskRunning), file()), Ok(vec![]));
}

#[test]
fn an_acknowledgement_of_anything_but_the_head_changes_nothing() {
    let mut streams = running();
    assert!(matches!(streams.acknowledge(&key("t"), &[1; 16]), Err(AcknowledgeError::UnknownTask { .. })));
    streams.update(update("t", 1, TaskState::TaskStarting), None).unwrap();
    streams.update(update("t", 2, TaskState::TaskRunning), None).unwrap();
    assert!(matches!(streams.acknowledge(&key("t"), &[2; 16]), Err(AcknowledgeError::NotTheHead { .. })));
    assert!(streams.acknowledge(&key("t"), &[1; 16]).is_ok());
    assert!(matches!(streams.acknowledge(&key("t"), &[1; 16]), Err(AcknowledgeError::NotTheHead { .. })));
}

#[test]
fn the_acknowledged_end_of_a_task_drops_what_is_queued_behind_it() {
    let mut streams = running();
    streams.update(update("t", 1, TaskState::TaskFailed), None).unwrap();
    streams.update(update("t", 2, TaskState::TaskRunning), None).unwrap();
    let done = streams.acknowledge(&key("t"), &[1; 16]).unwrap();
    assert_eq!((done.terminal, done.effects), (true, vec![]));
    assert!(streams.waiting().is_empty());
}

#[test]
fn while_paused_updates_are_stored_but_not_sent_and_resuming_sends_every_head_again() {
    let mut streams = running();
    streams.update(update("a", 1, TaskState::TaskRunning), None).unwrap();
    streams.timeout(&key("a"), &[1; 16]);
    streams.pause();
    assert_eq!(streams.timeout(&key("a"), &[1; 16]), []);
    assert_eq!(told(&streams.update(update("b", 2, TaskState::TaskRunning), file()).unwrap()), "+2");
    assert_eq!(told(&streams.update(update("b", 3, TaskState::TaskFinished), file()).unwrap()), "+3");
    assert_eq!(told(&streams.acknowledge(&key("b"), &[2; 16]).unwrap().effects), "-2");
    assert_eq!(told(&streams.resume()), ">1 @10 >3 @10");
}

#[test]
fn updates_without_a_uuid_or_beyond_the_bound_are_refused() {
    let mut streams = running();
    let mut nameless = update("t", 1, TaskState::TaskRunning);
    nameless.uuid = None;
    assert!(matches!(streams.update(nameless, None), Err(UpdateError::NoUuid { .. })));
    let numbered = |n: usize| {
        let mut update = update("t", 0, TaskState::TaskRunning);
        update.uuid = Some(n.to_be_bytes().repeat(2));
        update
    };
    for n in 0..PENDING_MAX {
        streams.update(numbered(n), None).unwrap();
    }
    assert!(matches!(streams.update(numbered(PENDING_MAX), None), Err(UpdateError::TooManyPending { .. })));
    // Its end is told all the same, once.
    let end = |n| StatusUpdate { status: update("t", 0, TaskState::TaskFailed).status, ..numbered(n) };
    streams.update(end(PENDING_MAX + 1), None).unwrap();
    assert!(streams.is_ending(&key("t")));
    assert!(matches!(streams.update(end(PENDING_MAX + 2), None), Err(UpdateError::TooManyPending { .. })));
}

#[test]
fn an_executor_cannot_make_up_tasks_without_end_and_the_agent_is_not_hindered() {
    let mut streams = Streams::default();
    let of = |task: usize, source: Source| {
        let mut update = update(&task.to_string(), 1, TaskState::TaskRunning);
        update.status.source = Some(source as i32);
        update
    };
    for task in 0..STREAMS_MAX {
        streams.update(of(task, Source::Executor), None).unwrap();
    }
    let another = streams.update(of(STREAMS_MAX, Source::Executor), None);
    assert!(matches!(another, Err(UpdateError::TooManyTasks { .. })));
    streams.update(of(0, Source::Executor), None).unwrap();
    streams.update(of(STREAMS_MAX, Source::Agent), None).unwrap();
    let other = StatusUpdate { framework_id: "g".into(), ..of(STREAMS_MAX, Source::Executor) };
    streams.update(other, None).unwrap();
    // What is settled makes room.
    for task in 0..2 {
        let mut end = of(task, Source::Executor);
        end.status.state = TaskState::TaskFinished as i32;
        end.uuid = Some(vec![2; 16]);
        streams.update(end, None).unwrap();
        streams.acknowledge(&key(&task.to_string()), &[1; 16]).unwrap();
        assert!(streams.acknowledge(&key(&task.to_string()), &[2; 16]).unwrap().terminal);
    }
    streams.update(of(STREAMS_MAX + 1, Source::Executor), None).unwrap();
}

#[test]
fn a_removed_framework_is_owed_nothing() {
    let mut streams = running();
    streams.update(update("t", 1, TaskState::TaskRunning), None).unwrap();
    streams.forget(&key("t").framework_id);
    assert_eq!(streams.timeout(&key("t"), &[1; 16]), []);
    assert_eq!(streams.resume(), []);
}

#[test]
fn a_frameworks_updates_are_bounded_in_bytes_and_the_end_of_a_task_is_told_in_short() {
    let mut streams = running();
    let large = |task: &str, n, state| {
        let mut update = update(task, n, state);
        update.status.source = Some(Source::Executor as i32);
        update.status.data = Some(vec![0; BYTES_MAX / 4]);
        update.status.message = Some("é".repeat(10_000));
        update
    };
    for n in 0..3 {
        streams.update(large("t", n, TaskState::TaskRunning), None).unwrap();
    }
    let refused = streams.update(large("other", 3, TaskState::TaskRunning), None).unwrap_err();
    assert_eq!(refused, UpdateError::TooManyBytes { task: "other".into() });
    assert!(refused.to_string().contains("bytes"), "{refused}");
    // A repetition is no more than that, and a small one still fits.
    assert_eq!(streams.update(large("t", 2, TaskState::TaskRunning), None).unwrap(), []);
    streams.update(update("other", 4, TaskState::TaskRunning), None).unwrap();
    // Another framework has as much for itself.
    let mut of_another = large("t", 5, TaskState::TaskRunning);
    of_another.framework_id = FrameworkId::from("g");
    streams.update(of_another, None).unwrap();
    streams.update(large("t", 6, TaskState::TaskFailed), None).unwrap();
    // What is acknowledged makes room.
    for n in 0..3 {
        streams.acknowledge(&key("t"), &[n; 16]).unwrap();
    }
    let head = streams.resume().into_iter().find_map(|effect| match effect {
        Effect::Forward(update) if update.uuid == Some(vec![6; 16]) => Some(update.status),
        _ => None,
    });
    let end = head.unwrap();
    assert_eq!((end.state(), &end.data), (TaskState::TaskFailed, &None));
    let message = end.message.unwrap();
    assert!(message.len() < 2000 && message.contains("left out"), "{message}");
    streams.update(large("other", 7, TaskState::TaskRunning), None).unwrap();
    assert!(streams.acknowledge(&key("t"), &[6; 16]).unwrap().terminal);
}

mod histories {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Update,
        Acknowledge(u8),
        Timeout(u8),
        Pause,
        Resume,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Update),
            3 => (0u8..20).prop_map(Step::Acknowledge),
            2 => (0u8..20).prop_map(Step::Timeout),
            1 => Just(Step::Pause),
            1 => Just(Step::Resume),
        ]
    }

    proptest! {
        /// Whatever happens: what is sent is always the oldest unacknowledged update, it was stored before,
        /// and once resumed everything gets through in the order in which it came.
        #[test]
        fn everything_gets_through_once_in_order(steps in prop::collection::vec(step(), 0..60)) {
            let mut streams = Streams::default();
            let (mut n, mut stored, mut acknowledged) = (0u8, Vec::new(), 0u8);
            let mut check = |effects: &[Effect], acknowledged: u8| {
                for effect in effects {
                    match effect {
                        Effect::Append { record, .. } => stored.extend(record.update.clone()),
                        Effect::Forward(sent) => {
                            prop_assert_eq!(sent.uuid.as_ref().unwrap()[0], acknowledged);
                            prop_assert!(stored.contains(sent));
                        }
                        Effect::Retry { .. } => {}
                    }
                }
                Ok(())
            };
            for step in steps {
                let effects = match step {
                    Step::Update => {
                        n += 1;
                        streams.update(update("t", n - 1, TaskState::TaskRunning), file()).unwrap()
                    }
                    Step::Acknowledge(uuid) => match streams.acknowledge(&key("t"), &[uuid; 16]) {
                        Ok(done) => {
                            prop_assert_eq!(uuid, acknowledged);
                            acknowledged += 1;
                            done.effects
                        }
                        Err(_) => vec![],
                    },
                    Step::Timeout(uuid) => streams.timeout(&key("t"), &[uuid; 16]),
                    Step::Pause => { streams.pause(); vec![] }
                    Step::Resume => streams.resume(),
                };
                check(&effects, acknowledged)?;
            }
            let effects = streams.resume();
            check(&effects, acknowledged)?;
            while acknowledged < n {
                let effects = streams.acknowledge(&key("t"), &[acknowledged; 16]).unwrap().effects;
                acknowledged += 1;
                check(&effects, acknowledged)?;
            }
            prop_assert!(streams.waiting().is_empty());
        }
    }
}
