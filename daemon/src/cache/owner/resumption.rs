//! The owner's part in logins that outlive the daemon: taking one up at the start, and leaving it at the end.

use crate::cache::login::LoginProgress;
use crate::cache::owner::Owner;
use crate::grant::Flow;

impl Owner {
    /// Goes on with the login that an earlier daemon began, if it left one and it is still alive.
    pub(super) async fn resume_login(&mut self) {
        let Some(left) = self.resumption.load(&self.account).await else { return };
        let account = &self.account.name;
        match self.source.resume_login(left) {
            Ok(login) => {
                tracing::info!(%account, "going on with a login that was pending");
                self.ask(login, Flow::DeviceCode);
            }
            Err(failure) => {
                tracing::warn!(%account, %failure, "a login that was pending is over");
                self.set_login(LoginProgress::Failed(failure));
            }
        }
    }

    /// Ends the work of a login without ending the login where it can be resumed. Any other is cancelled.
    pub(super) fn leave_login(&mut self) {
        if !self.resumption.is_following() {
            return self.end_login(LoginProgress::Cancelled);
        }
        if let Some(step) = self.login_step.take() {
            step.end(&self.source);
        }
    }
}
