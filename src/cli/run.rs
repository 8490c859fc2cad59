//! `run`: the daemon.
//!
//! SIGTERM and SIGINT end it in order (sources, last commit, snapshot, sinks), SIGHUP reads the configuration again.

use std::sync::Arc;

use super::{ConfigFile, Exit, Failure, Outcome, log_level, no_color};
use crate::app::signals::{Asked, Signals};
use crate::app::{self, Running, Setup, StartError};
use crate::config::{Config, Environment};
use crate::telemetry::{exposition, log};

/// Arguments of `run`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Read what the sources have, carry out what it causes, and end.
    #[arg(long)]
    pub once: bool,
}

/// Runs the daemon until it is asked to stop.
///
/// # Errors
/// Where the configuration is invalid or the daemon cannot run.
pub fn run(args: &Args, environment: &Environment) -> Outcome {
    let config = Config::load(&args.config.path, environment).map_err(Failure::invalid)?;
    log::init(config.log.format, &log_level(&config.log.level, environment)?, no_color(environment))?;
    super::runtime()?.block_on(daemon(args, config, environment))
}

async fn daemon(args: &Args, config: Config, environment: &Environment) -> Outcome {
    let mut signals = Signals::register()?;
    let setup = Setup {
        config,
        path: Some(args.config.path.clone()),
        environment: environment.clone(),
        once: args.once,
        metrics: Arc::new(exposition::install()?),
    };
    let mut running = app::start(setup).await.map_err(failure)?;
    let drain_sinks = if args.once {
        tokio::select! {
            done = running.sources_done() => done.map(|()| true)?,
            () = until_stopped(&mut signals) => false,
        }
    } else {
        serve(&mut running, &mut signals).await?;
        false
    };
    tracing::info!("stopping");
    running.stop(drain_sinks).await?;
    tracing::info!("stopped");
    Ok(Exit::Good)
}

async fn serve(running: &mut Running, signals: &mut Signals) -> Result<(), Failure> {
    loop {
        let asked = tokio::select! {
            asked = signals.next() => asked,
            error = running.pump_failed() => return Err(Failure::could_not_run(error)),
        };
        match asked {
            Asked::Stop => return Ok(()),
            Asked::Reload => running.reload().await,
        }
    }
}

async fn until_stopped(signals: &mut Signals) {
    while signals.next().await != Asked::Stop {}
}

/// An invalid configuration has its own exit code.
pub(super) fn failure(error: StartError) -> Failure {
    match error {
        StartError::Parts(error) => Failure::invalid(error),
        StartError::Token(_)
        | StartError::Store(_)
        | StartError::Pump(_)
        | StartError::Client(_)
        | StartError::Sink(_)
        | StartError::Listen { .. }
        | StartError::File(_)
        | StartError::Interrupted(_) => Failure::could_not_run(error),
    }
}
