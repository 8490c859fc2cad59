//! A simulated org: people, devices, policies, sign-ins and scenarios, and Okta and ServiceNow over HTTP.
//!
//! It exists for `simulate`, `demo` and the tests. Everything it makes is a pure function of the seed, the seats, the
//! scenario and the times (on machines whose floating point agrees); it reads no clock but for pacing its two servers.
//! It shares no code with the decoder, the classifier or any evaluator, so its truth can contradict them.
//!
//! ```text
//! Org ─ Timeline ─ Plan (flows) ─ render (Okta's JSON) ─ Log (commit order, truth) ─ okta ─ HTTP
//!                                                                       servicenow ─ HTTP
//! ```

mod chance;
pub mod clock;
pub mod faults;
pub mod fleet;
pub mod log;
pub mod okta;
pub mod org;
pub mod plan;
pub mod policies;
pub mod push;
pub mod render;
mod rhythm;
pub mod scenario;
mod server;
pub mod servicenow;
pub mod truth;
mod wire;

pub use clock::Clock;
pub use faults::{FaultPlan, Faults};
pub use log::{Awkward, Entry, Log};
pub use okta::{Endpoint, Okta, OktaConfig, OktaFault};
pub use org::{Cohort, Org};
pub use plan::{Flow, Plan};
pub use scenario::{Scenario, Timeline};
pub use server::{Handles, ServeConfig, ServeError, serve};
pub use servicenow::{ServiceNow, ServiceNowConfig, ServiceNowFault};
pub use truth::Truth;
