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
    if args.once {
        return once(running, &mut signals).await;
    }
    serve(&mut running, &mut signals).await?;
    tracing::info!("stopping");
    running.stop(false).await?;
    tracing::info!("stopped");
    Ok(Exit::Good)
}

/// Reads what there is and carries out what it causes; a failure where something was not read or not told.
async fn once(mut running: Running, signals: &mut Signals) -> Outcome {
    let is_done = tokio::select! {
        done = running.sources_done() => done.map(|()| true)?,
        () = until_stopped(signals) => false,
    };
    let conditions = running.conditions.clone();
    let waiting = running.stop(is_done).await?;
    if !is_done {
        return Ok(Exit::Good);
    }
    let failed: Vec<String> = conditions
        .read()
        .into_iter()
        .filter(|(_, status)| status.gates_readiness && !status.ok)
        .map(|(name, status)| format!("{name}: {}", status.detail))
        .collect();
    if !failed.is_empty() {
        return Err(Failure::could_not_run(anyhow::anyhow!("not everything was read ({})", failed.join("; "))));
    }
    if waiting > 0 {
        let error = anyhow::anyhow!(
            "{waiting} actions or records could not be carried out yet (the next run goes on with them)"
        );
        return Err(Failure::could_not_run(error));
    }
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
        | StartError::Interrupted(_)
        | StartError::Vault(_) => Failure::could_not_run(error),
    }
}
