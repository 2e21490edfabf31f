//! `start`: opens the gate.

use crate::{
    error::{Doing, Error},
    hooks,
    id::ContainerId,
    lifecycle::Store,
    log::{Level, Log},
    plan,
    process::{self, Message, hear, hook_state},
    state::Status,
};

/// Starts the container's program.
pub(super) fn start(store: &Store, log: &mut Log, id: &ContainerId) -> Result<u8, Error> {
    let folder = store.lock(id)?;
    let record = folder.load()?;
    match folder.status(&record) {
        Status::Created => {}
        Status::Stopped => {
            return Err(Error::State(
                "cannot start a container that has stopped".to_owned(),
            ));
        }
        Status::Running => {
            return Err(Error::State(
                "cannot start an already running container".to_owned(),
            ));
        }
        other => {
            return Err(Error::State(format!(
                "cannot start a container in the {} state",
                other.word()
            )));
        }
    }
    let doing = || format!("open the gate of {id}");
    let gate = folder.knock().doing(doing)?;
    process::go_on(&gate).doing(doing)?;
    let answer = hear(&gate).doing(doing)?;
    folder.remove_gate();
    let config = folder.config()?;
    let spec = super::create::parse(&config)?;
    if let Some(Message::Failed(failure)) = answer {
        let plan = plan::plan(&spec, id.clone(), &record.bundle)?;
        // It ends by itself; whoever looks next shall see it ended.
        process::await_end(&record);
        return Err(process::of_init(&plan, failure));
    }
    if let Some(spec_hooks) = &spec.hooks
        && !spec_hooks.poststart.is_empty()
    {
        let state = hook_state(&record, Status::Running)?;
        // The program runs already: the specification wants a warning, and life to go on.
        if let Err(error) = hooks::run_all("poststart", &spec_hooks.poststart, &state) {
            log.write(Level::Warning, &error.to_string());
        }
    }
    Ok(0)
}
