//! The promises about a device login that the daemon does not live to see the end of.

use secrecy::SecretString;
use tokio::sync::watch;

use super::*;
use crate::clock::Moment;
use crate::token::device_login::DeviceLogin;

/// An issuer of device logins, in memory. Its person takes their time, and answers when [`Device::approve`] says so.
#[derive(Clone, Debug)]
struct Device {
    issuer: FakeIssuer,
    /// One for each login that was begun: what a daemon is told to keep of it.
    begun: Arc<Mutex<Vec<watch::Sender<DeviceLogin>>>>,
    /// What daemons came back with.
    resumed: Arc<Mutex<Vec<DeviceLogin>>>,
    answer: watch::Sender<Option<Result<(), Failure>>>,
    resumes: bool,
}

impl Device {
    fn new(clock: &Clock) -> Self {
        Self {
            issuer: FakeIssuer::new(clock),
            begun: Arc::default(),
            resumed: Arc::default(),
            answer: watch::Sender::new(None),
            resumes: true,
        }
    }

    fn now(&self) -> Moment {
        self.issuer.0.lock().unwrap().clock.now().moment
    }

    fn approve(&self) {
        self.answer.send_replace(Some(Ok(())));
    }

    fn slow_down(&self) {
        self.begun.lock().unwrap().last().unwrap().send_modify(|login| login.interval += 5 * SECOND);
    }

    fn waiting(&self, login: DeviceLogin) -> Login {
        let (current, resumable) = watch::channel(login.clone());
        self.begun.lock().unwrap().push(current);
        let prompt = Prompt::EnterCode {
            verification_uri: login.verification_uri,
            verification_uri_complete: login.verification_uri_complete,
            user_code: login.user_code,
        };
        let (issuer, answers) = (self.issuer.clone(), self.answer.clone());
        let answered = async move {
            answers.subscribe().wait_for(Option::is_some).await.unwrap();
            // Each answer is for one login.
            let answer = answers.send_replace(None).unwrap();
            answer.map(|()| Box::pin(async move { issuer.answer(None).await }) as Exchange)
        };
        Login {
            prompt,
            until: login.until,
            answered: Box::pin(answered),
            pasting: None,
            resumable: Some(resumable),
        }
    }
}

impl TokenSource for Device {
    fn attendance(&self) -> Attendance {
        Attendance::Person
    }

    fn renew(&self, refresh: Option<RefreshToken>, wanted: Wanted) -> Pending<Result<Renewal, Failure>> {
        self.issuer.renew(refresh, wanted)
    }

    fn begin_login(&self, _: Flow) -> Pending<Result<Login, Failure>> {
        let count = self.begun.lock().unwrap().len() + 1;
        let page: url::Url = "https://i/device".parse().unwrap();
        let login = self.waiting(DeviceLogin {
            device_code: format!("CANARY-{count}").into(),
            origin: "https://i".to_owned(),
            interval: 5 * SECOND,
            until: self.now().after(10 * MINUTE),
            user_code: format!("CODE-{count}"),
            verification_uri_complete: Some(page.join("?code").unwrap()),
            verification_uri: page,
        });
        Box::pin(async { Ok(login) })
    }

    fn resume_login(&self, login: DeviceLogin) -> Result<Login, Failure> {
        if !self.resumes || login.until <= self.now() {
            return Err(Failure::Refused { message: "it is over".into() });
        }
        self.resumed.lock().unwrap().push(login.clone());
        Ok(self.waiting(login))
    }

    fn begins_anew(&self) -> bool {
        self.issuer.begins_anew()
    }

    fn adopt(&self, refresh: SecretString) -> Adoption {
        self.issuer.adopt(refresh)
    }

    fn revoke(&self, tokens: TokenSet) -> Pending<Result<Revoked, Failure>> {
        self.issuer.revoke(tokens)
    }
}

/// An account that runs on a [`Device`].
struct Screen {
    world: World,
    device: Device,
}

impl Screen {
    async fn new() -> Self {
        let world = World::new(|_| ());
        let device = Device::new(&world.clock);
        let mut screen = Self { world, device };
        screen.end().await;
        screen.start_again("cli");
        screen
    }

    /// Returns one with a login that is pending.
    async fn asking() -> Self {
        let screen = Self::new().await;
        screen.world.begin(Flow::Configured).await;
        assert_eq!(screen.code(), "CODE-1");
        screen
    }

    async fn end(&mut self) {
        self.world.entry.close();
        self.world.entry.ended().await;
    }

    fn start_again(&mut self, client_id: &str) {
        let World { store, clock, .. } = &self.world;
        let source = Arc::new(self.device.clone());
        let entry =
            Entry::start(Orders::new(account(client_id), source), Arc::clone(store), clock.clone(), None);
        self.world.entry = Arc::new(entry);
    }

    async fn restart(&mut self) {
        self.end().await;
        self.start_again("cli");
        self.world.entry.loaded().await;
    }

    /// Returns the code that is shown.
    #[track_caller]
    fn code(&self) -> String {
        let view = self.world.entry.view();
        let LoginProgress::Asking { prompt: Prompt::EnterCode { user_code, .. }, .. } = &view.login else {
            panic!("{:?}", view.login)
        };
        user_code.clone()
    }

    fn file(&self) -> std::path::PathBuf {
        self.world.state.path().join("accounts/prod.login")
    }

    /// Tells whether a login rests on disk once the owner has nothing more to do.
    async fn rests(&self) -> bool {
        pass(SECOND).await;
        self.file().exists()
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_the_same_code_and_the_grown_interval_8628_9() {
    let mut screen = Screen::asking().await;
    screen.device.slow_down();
    pass(SECOND).await;
    let until = screen.device.begun.lock().unwrap()[0].borrow().until;
    for restarts in 1..=3 {
        screen.restart().await;
        assert_eq!(screen.code(), "CODE-1");
        // A shim that asks again joins it, in whichever way it asks.
        screen.world.begin(Flow::DeviceCode).await;
        assert_eq!(screen.code(), "CODE-1");
        let resumed = screen.device.resumed.lock().unwrap();
        assert_eq!(resumed.len(), restarts);
        let last = resumed.last().unwrap();
        assert_eq!(last.device_code.expose_secret(), "CANARY-1");
        assert_eq!((last.interval, last.until, &*last.origin), (10 * SECOND, until, "https://i"));
        assert_eq!(last.verification_uri_complete.as_ref().unwrap().as_str(), "https://i/device?code");
    }
    screen.device.approve();
    assert!(matches!(screen.world.login_ends().await.login, LoginProgress::SignedIn));
    assert_eq!(name(&screen.world.token().await.unwrap()), "at-1");
    assert!(!screen.rests().await);
}

#[tokio::test(start_paused = true)]
async fn an_interval_that_grows_at_the_very_end_is_kept_8628_9() {
    let mut screen = Screen::asking().await;
    screen.device.slow_down();
    screen.restart().await;
    assert_eq!(screen.device.resumed.lock().unwrap()[0].interval, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_a_person_is_shown_is_on_disk_and_shows_no_secret_there() {
    let screen = Screen::asking().await;
    let sealed = fs::read(screen.file()).unwrap();
    assert!(!sealed.windows(4).any(|window| window == b"CANA" || window == b"CODE"));
    let left = screen.world.store.load_login(&"prod".parse().unwrap()).unwrap().unwrap();
    assert!(!format!("{left:?}").contains("CANARY"));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_has_ended_leaves_nothing_behind_whichever_end_it_was() {
    let screen = Screen::asking().await;
    screen.world.entry.cancel_login().await;
    assert!(!screen.file().exists(), "whoever cancels is answered when it is gone");

    let screen = Screen::asking().await;
    screen.world.entry.log_out().await.unwrap();
    assert!(!screen.file().exists(), "whoever logs out is answered when it is gone");

    let screen = Screen::asking().await;
    let denied = Failure::Refused { message: "access_denied".into() };
    screen.device.answer.send_replace(Some(Err(denied)));
    assert!(matches!(screen.world.login_ends().await.login, LoginProgress::Failed(_)));
    assert!(!screen.rests().await);

    let screen = Screen::asking().await;
    screen.world.entry.import("0".into()).await.unwrap();
    assert!(!screen.rests().await);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_login_does_not_come_back_with_a_restart() {
    let mut screen = Screen::asking().await;
    screen.world.entry.cancel_login().await;
    screen.restart().await;
    assert!(matches!(screen.world.entry.view().login, LoginProgress::Idle));
    screen.world.begin(Flow::Configured).await;
    assert_eq!(screen.code(), "CODE-2");
    assert!(screen.rests().await);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_begun_anew_is_the_one_that_a_restart_goes_on_with_8628_9() {
    let mut screen = Screen::asking().await;
    screen.device.issuer.set(|ledger| ledger.lessons = 1);
    let useless = Failure::misconfigured("its tokens are of no use");
    screen.device.answer.send_replace(Some(Err(useless)));
    pass(SECOND).await;
    assert_eq!(screen.code(), "CODE-2");
    screen.restart().await;
    assert_eq!(screen.code(), "CODE-2");
    screen.device.approve();
    assert!(matches!(screen.world.login_ends().await.login, LoginProgress::SignedIn));
    assert!(!screen.rests().await);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_over_when_the_daemon_comes_back_has_failed_and_is_gone() {
    let mut screen = Screen::asking().await;
    screen.end().await;
    assert!(screen.file().exists());
    pass(10 * MINUTE).await;
    screen.start_again("cli");
    screen.world.entry.loaded().await;
    let view = screen.world.entry.view();
    assert!(matches!(view.login, LoginProgress::Failed(_)), "{:?}", view.login);
    assert!(!screen.rests().await);
}

#[tokio::test(start_paused = true)]
async fn a_login_of_other_settings_is_not_resumed() {
    let mut screen = Screen::asking().await;
    screen.end().await;
    screen.start_again("another-client");
    screen.world.entry.loaded().await;
    assert!(matches!(screen.world.entry.view().login, LoginProgress::Idle));
    assert!(!screen.rests().await);
    assert!(screen.device.resumed.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_login_that_the_grant_cannot_go_on_with_is_dropped() {
    let mut screen = Screen::asking().await;
    screen.device.resumes = false;
    screen.restart().await;
    assert!(matches!(screen.world.entry.view().login, LoginProgress::Failed(_)));
    assert!(!screen.rests().await);
}

#[tokio::test(start_paused = true)]
async fn a_login_with_a_browser_leaves_nothing_on_disk() {
    let world = World::new(|_| ());
    world.begin(Flow::Configured).await;
    assert!(!world.state.path().join("accounts/prod.login").exists());
}

#[tokio::test(start_paused = true)]
async fn a_login_that_cannot_be_written_goes_on_and_ends_with_the_daemon() {
    let mut screen = Screen::new().await;
    let in_the_way = screen.world.state.path().join("accounts/.prod.login.tmp/full");
    fs::create_dir_all(&in_the_way).unwrap();
    screen.world.begin(Flow::Configured).await;
    assert_eq!(screen.code(), "CODE-1");
    assert!(!screen.file().exists());
    assert!(matches!(screen.world.entry.view().stored, Stored::Durable));
    fs::remove_dir_all(in_the_way.parent().unwrap()).unwrap();
    screen.device.approve();
    assert!(matches!(screen.world.login_ends().await.login, LoginProgress::SignedIn));
    screen.restart().await;
    assert!(matches!(screen.world.entry.view().login, LoginProgress::Idle));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_login_is_thrown_away_and_costs_no_token() {
    let mut screen = Screen::asking().await;
    screen.device.approve();
    screen.world.login_ends().await;
    screen.world.begin(Flow::Configured).await;
    screen.end().await;
    let mut sealed = fs::read(screen.file()).unwrap();
    *sealed.last_mut().unwrap() ^= 1;
    fs::write(screen.file(), sealed).unwrap();
    screen.start_again("cli");
    screen.world.entry.loaded().await;
    assert!(matches!(screen.world.entry.view().login, LoginProgress::Idle));
    assert_eq!(name(&screen.world.token().await.unwrap()), "at-1");
    assert!(!screen.file().exists());
}
