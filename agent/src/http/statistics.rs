//! `/containers` and `/monitor/statistics`: what the containers are and use.

use std::time::Duration;

use api::v1::{ContainerStatus, Resource, ResourceStatistics};
use libprocess::http::{Answer, Request, Response, StatusCode};
use libprocess::{Context, Future, Promise};
use serde_json::{Value, json};

use crate::actor::Agent;
use crate::workload::describe;

/// A container as both endpoints know it, before its usage is added.
struct Known {
    container_id: String,
    resources: Vec<Resource>,
    shown: Value,
}

/// How long a request for statistics waits for its turn. Each one looks at every process of every container.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn statistics(agent: &mut Agent, request: Request, ctx: &mut Context<Agent>) -> Answer {
    match agent.statistics.reserve_within(ctx.now(), PATIENCE) {
        Some(Duration::ZERO) => statistics_now(agent, request, ctx).into(),
        Some(wait) => {
            let (promise, answer) = Promise::new();
            ctx.delay(wait, move |agent, ctx| {
                let told = statistics_now(agent, request, ctx);
                ctx.then(told, move |_, told, _| {
                    if let Ok(told) = told {
                        promise.set(told);
                    }
                });
            });
            answer.into()
        }
        None => {
            let text = "Too many requests for statistics are waiting already.";
            Response::text(StatusCode::SERVICE_UNAVAILABLE, text).into()
        }
    }
}

fn statistics_now(agent: &mut Agent, request: Request, ctx: &mut Context<Agent>) -> Future<Response> {
    let known = agent.workload.executors().map(|(framework, executor)| Known {
        container_id: executor.container_id.clone(),
        resources: executor.resources().cloned().collect(),
        shown: json!({
            "framework_id": framework.id.value,
            "executor_id": executor.id().value,
            "executor_name": executor.name(),
            "source": executor.info.source.clone().unwrap_or_default(),
        }),
    });
    let known: Vec<Known> = known.collect();
    // One whose usage is unknown, because it does not run yet or no more, is left out.
    with_usage(agent, known, request, false, ctx)
}

pub(super) fn containers(agent: &mut Agent, request: Request, ctx: &mut Context<Agent>) -> Answer {
    let query = |name: &str| request.query.get(name).cloned();
    let (container_id, framework_id, executor_id) =
        (query("container_id"), query("framework_id"), query("executor_id"));
    if (container_id.is_some() && (framework_id.is_some() || executor_id.is_some()))
        || (executor_id.is_some() && framework_id.is_none())
    {
        let text = "Expecting 'container_id' alone, or 'framework_id' with or without 'executor_id'";
        return Response::text(StatusCode::BAD_REQUEST, text).into();
    }
    let ip = agent.workload.settings.ip.clone();
    let wanted = |asked: &Option<String>, is: &str| asked.as_deref().is_none_or(|asked| asked == is);
    let known = agent
        .workload
        .executors()
        .filter(|(framework, executor)| {
            wanted(&container_id, &executor.container_id)
                && wanted(&framework_id, &framework.id.value)
                && wanted(&executor_id, &executor.id().value)
        })
        .map(|(framework, executor)| {
            let mut status = ContainerStatus::default();
            describe(&mut status, &executor.container_id, executor.pid, &ip);
            Known {
                container_id: executor.container_id.clone(),
                resources: executor.resources().cloned().collect(),
                shown: json!({
                    "container_id": executor.container_id,
                    "framework_id": framework.id.value,
                    "executor_id": executor.id().value,
                    "executor_name": executor.name(),
                    "source": executor.info.source.clone().unwrap_or_default(),
                    "status": api::json::to_value(&status),
                }),
            }
        });
    let known: Vec<Known> = known.collect();
    with_usage(agent, known, request, true, ctx).into()
}

/// Asks for the usage of each and answers when all have told.
fn with_usage(
    agent: &mut Agent,
    known: Vec<Known>,
    request: Request,
    show_without: bool,
    ctx: &mut Context<Agent>,
) -> Future<Response> {
    let Some(containerizer) = agent.containerizer().cloned() else {
        return Future::ready(Response::new(StatusCode::SERVICE_UNAVAILABLE));
    };
    let jsonp = request.query.get("jsonp").cloned();
    let (promise, answer) = Promise::new();
    let asked = known.into_iter().map(|Known { container_id, resources, shown }| {
        let usage = containerizer.dispatch(move |c, ctx| c.usage(&container_id, resources, ctx)).flatten();
        (shown, usage)
    });
    gather(asked.collect(), Vec::new(), show_without, jsonp, promise, ctx);
    answer
}

fn gather(
    mut asked: Vec<(Value, Future<Option<ResourceStatistics>>)>,
    mut told: Vec<Value>,
    show_without: bool,
    jsonp: Option<String>,
    promise: Promise<Response>,
    ctx: &mut Context<Agent>,
) {
    let Some((mut shown, usage)) = asked.pop() else {
        told.reverse();
        return promise.set(super::rendered(jsonp.as_deref(), &Value::Array(told)));
    };
    ctx.then(usage, move |_, usage, ctx| {
        let usage = usage.ok().flatten();
        let known = usage.is_some();
        if let Some(usage) = usage {
            shown["statistics"] = api::json::to_value(&usage);
        }
        if known || show_without {
            told.push(shown);
        }
        gather(asked, told, show_without, jsonp, promise, ctx);
    });
}
