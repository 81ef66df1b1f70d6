//! `/logging/toggle`: more log for a while.

use std::sync::OnceLock;
use std::time::Duration;

use super::{duration, read_only};
use crate::clock::Timer;
use crate::context::Context;
use crate::http::{Request, Response, StatusCode};
use crate::process::Process;

type Toggler = Box<dyn Fn(u32) + Send + Sync>;

static TOGGLER: OnceLock<Toggler> = OnceLock::new();

/// Tells `/logging/toggle` how this program changes its log: `toggler` is called with the wanted verbosity, 0
/// being what the program was started with, 1 more, 2 everything. Only the first call counts; without any,
/// the endpoint answers that it cannot.
pub fn set_toggler(toggler: impl Fn(u32) + Send + Sync + 'static) {
    let _ = TOGGLER.set(Box::new(toggler));
}

#[derive(Default)]
pub(super) struct Logging {
    level: u32,
    revert: Option<Timer>,
}

impl Logging {
    fn toggle(&mut self, request: Request, ctx: &mut Context<Self>) -> Response {
        let bad = |text: String| Response::text(StatusCode::BAD_REQUEST, text);
        let (level, for_) = match (request.query.get("level"), request.query.get("duration")) {
            (None, None) => return Response::text(StatusCode::OK, format!("{}\n", self.level)),
            (Some(level), Some(for_)) => (level, for_),
            (None, Some(_)) => return bad("Expecting 'level=value' in query.\n".to_owned()),
            (Some(_), None) => return bad("Expecting 'duration=value' in query.\n".to_owned()),
        };
        let level = match level.parse::<i64>().map(u32::try_from) {
            Ok(Ok(level)) => level,
            Ok(Err(_)) => return bad(format!("Invalid level '{level}': it may not be below 0.\n")),
            Err(_) => return bad(format!("Invalid level '{level}': expected a whole number.\n")),
        };
        let for_ = match duration::parse(for_) {
            Ok(for_) => for_,
            Err(error) => return bad(format!("Invalid duration: {error}.\n")),
        };
        match TOGGLER.get() {
            Some(toggler) => self.set(level, for_, toggler, ctx),
            None => {
                let text = "The log of this program cannot be changed while it runs.";
                return Response::text(StatusCode::NOT_IMPLEMENTED, text);
            }
        }
        Response::ok()
    }

    fn set(&mut self, level: u32, for_: Duration, toggler: &'static Toggler, ctx: &mut Context<Self>) {
        if let Some(revert) = self.revert.take() {
            revert.cancel();
        }
        toggler(level);
        self.level = level;
        if level > 0 {
            self.revert = Some(ctx.delay(for_, |logging: &mut Self, _| {
                toggler(0);
                logging.level = 0;
                logging.revert = None;
            }));
        }
    }
}

impl Process for Logging {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let mut toggle = read_only("Sets the verbosity of the log for a while.");
        toggle.methods.push(crate::http::Method::POST);
        toggle.description =
            "`level=VALUE`: 0 is what the program was started with, 1 is more, 2 everything. \
             `duration=VALUE`: for how long, for example `5mins`. Without either, the level of now is shown."
                .to_owned();
        ctx.route_with("/toggle", toggle, Self::toggle);
    }
}
