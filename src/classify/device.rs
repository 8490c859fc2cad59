//! What the event says of the device: its platform and its signals.
//!
//! Source: the fact sheet's sections 4.2 and 6.1. The device stands in `device`, or as a `UDDevice` target with the same
//! facts under other names and as texts.

use std::sync::Arc;

use smol_str::SmolStr;

use super::evidence::{Ground, Source};
use super::kept;
use super::tables::Tables;
use crate::decode::okta::{Json, LogEvent, Target};
use crate::event::{DeviceSignals, Platform};

const DEVICE: &str = "UDDevice";

/// Bytes kept of the integrators' signals; longer ones are dropped, since a part of JSON says nothing.
const INTEGRATOR_BYTES: usize = 64 << 10;

/// The platform: of the device, else of the user agent where it is a known one.
pub(super) fn platform<'t>(tables: &'t Tables, event: &LogEvent<'_>) -> (Platform, Ground<'t>) {
    let found = device_platform(tables, event).or_else(|| agent_platform(tables, event));
    found.unwrap_or((Platform::Unknown, Ground::NOTHING))
}

fn device_platform<'t>(tables: &'t Tables, event: &LogEvent<'_>) -> Option<(Platform, Ground<'t>)> {
    let word = event.device.os_platform.named().map(|word| (word, Source::DevicePlatform));
    let (word, source) = word.or_else(|| {
        let target = event.first_target(DEVICE).and_then(|target| target.detail.os_platform.named());
        // Exporters drop target types; `osPlatform` is a device's member wherever it stands.
        let target = target.or_else(|| event.target.iter().find_map(|target| target.detail.os_platform.named()));
        Some((target?, Source::TargetPlatform))
    })?;
    Some(tables.device_platforms.at(source, word).unwrap_or((Platform::Other, source.into())))
}

fn agent_platform<'t>(tables: &'t Tables, event: &LogEvent<'_>) -> Option<(Platform, Ground<'t>)> {
    let agent = &event.client.user_agent;
    let system = agent.os.named().and_then(|os| {
        let row = tables.agent_systems.iter().find(|row| os.starts_with(row.text.as_str()))?;
        Some((row.platform, Ground::word(Source::AgentSystem, &row.text)))
    });
    system.or_else(|| {
        let raw = agent.raw.named()?;
        let row = tables.agent_texts.iter().find(|row| raw.contains(row.text.as_str()))?;
        Some((row.platform, Ground::word(Source::AgentText, &row.text)))
    })
}

/// The device's signals: `device`, completed from a `UDDevice` target that is not another device.
pub(super) fn signals(tables: &Tables, event: &LogEvent<'_>) -> (Option<Arc<DeviceSignals>>, Ground<'static>) {
    let target = event.first_target(DEVICE);
    if !event.device.is_present() {
        let signals = target.map(|target| Arc::new(of_target(tables, target)));
        let ground = Ground::of(signals.is_some(), Source::DeviceTarget);
        return (signals, ground);
    }
    let mut signals = of_device(event);
    let mut source = Source::Device;
    if let Some(other) = target.map(|target| of_target(tables, target))
        && (signals.id.is_none() || other.id.is_none() || signals.id == other.id)
    {
        complete(&mut signals, other);
        source = Source::DeviceAndTarget;
    }
    (Some(Arc::new(signals)), source.into())
}

fn of_device(event: &LogEvent<'_>) -> DeviceSignals {
    let device = &event.device;
    DeviceSignals {
        id: device.id.named().map(kept),
        os_version: device.os_version.named().map(kept),
        managed: device.managed.get(),
        registered: device.registered.get(),
        jailbreak: device.jailbreak.get(),
        secure_hardware: device.secure_hardware_present.get(),
        disk_encryption: device.disk_encryption_type.named().map(kept),
        screen_lock: device.screen_lock_type.named().map(kept),
        integrators: integrators(&device.device_integrator),
    }
}

fn of_target(tables: &Tables, target: &Target<'_>) -> DeviceSignals {
    let detail = &target.detail;
    let platform = detail.os_platform.named().and_then(|word| tables.device_platforms.get(word));
    let has_tpm = match platform {
        // Apple hardware has no TPM, so its absence is no finding.
        Some(Platform::Macos | Platform::Ios) => None,
        Some(
            Platform::Windows
            | Platform::Android
            | Platform::Chromeos
            | Platform::Linux
            | Platform::Other
            | Platform::Unknown,
        )
        | None => detail.tpm_present.get(),
    };
    DeviceSignals {
        id: detail.device_id.named().or(target.id.named()).map(kept),
        os_version: detail.os_version.named().map(kept),
        managed: detail.managed.get(),
        registered: detail.registered.get(),
        jailbreak: detail.jailbreak.get(),
        secure_hardware: detail.secure_hardware_present.get().or(has_tpm),
        disk_encryption: detail.disk_encryption_type.named().map(kept),
        screen_lock: detail.screen_lock_type.named().map(kept),
        integrators: integrators(&detail.device_integrator),
    }
}

fn complete(signals: &mut DeviceSignals, other: DeviceSignals) {
    let DeviceSignals {
        id,
        os_version,
        managed,
        registered,
        jailbreak,
        secure_hardware,
        disk_encryption,
        screen_lock,
        integrators,
    } = other;
    signals.id = signals.id.take().or(id);
    signals.os_version = signals.os_version.take().or(os_version);
    signals.managed = signals.managed.or(managed);
    signals.registered = signals.registered.or(registered);
    signals.jailbreak = signals.jailbreak.or(jailbreak);
    signals.secure_hardware = signals.secure_hardware.or(secure_hardware);
    signals.disk_encryption = signals.disk_encryption.take().or(disk_encryption);
    signals.screen_lock = signals.screen_lock.take().or(screen_lock);
    signals.integrators = signals.integrators.take().or(integrators);
}

fn integrators(json: &Json<'_>) -> Option<SmolStr> {
    json.get().filter(|text| text.len() <= INTEGRATOR_BYTES).map(SmolStr::new)
}
