//! Logins against a scripted token endpoint, with a browser that is a TCP connection.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use url::Url;

use super::*;
use crate::oauth::scripted_server::{ScriptedServer, json};
use crate::oauth::{ClientAuthentication, Endpoints, Redirects};

const TOKENS: &str = r#"{"access_token":"AT","token_type":"bearer","expires_in":60,"refresh_token":"RT"}"#;

fn source(server: &ScriptedServer) -> AuthorizationCode {
    let endpoints = Endpoints { issuer: Some(server.issuer()), ..server.endpoints() };
    source_at(endpoints)
}

fn source_at(endpoints: Endpoints) -> AuthorizationCode {
    let issuer = Arc::new(Issuer::fake(endpoints, ClientAuthentication::None));
    AuthorizationCode { issuer, browser: BrowserLogin::default() }
}

fn page(login: &Login) -> Url {
    let Prompt::Visit { url } = &login.prompt else { panic!("not a page") };
    url.clone()
}

fn parameter(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(known, _)| known == name).unwrap().1.into_owned()
}

/// Returns the address that an issuer sends the browser to.
fn redirect(login: &Login, query: &str) -> Url {
    let page = page(login);
    let query = query.replace("STATE", &parameter(&page, "state"));
    Url::parse(&format!("{}?{query}", parameter(&page, "redirect_uri"))).unwrap()
}

/// Sends the browser there; what it shows comes when the login is over.
fn visit(url: &Url) -> tokio::task::JoinHandle<String> {
    let authority = url.authority().to_owned();
    let target = url[url::Position::BeforePath..].to_owned();
    tokio::spawn(async move {
        let mut stream = TcpStream::connect(&authority).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut shown = Vec::new();
        stream.read_to_end(&mut shown).await.unwrap();
        String::from_utf8_lossy(&shown).into_owned()
    })
}

fn form(request: &str) -> Vec<(String, String)> {
    let body = request.split_once("\r\n\r\n").unwrap().1;
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

#[tokio::test]
async fn the_code_is_exchanged_once_with_the_verifier_of_its_attempt_8252_6_9700_1_9700_8() {
    let server = ScriptedServer::answering([json(200, TOKENS)]).await;
    let login = source(&server).begin_login(Flow::Configured).await.unwrap();
    let page = page(&login);
    assert_eq!(parameter(&page, "response_type"), "code");
    let browser = visit(&redirect(&login, "code=CODE&state=STATE"));
    let exchange = login.answered.await.unwrap();
    assert_eq!(server.requests().len(), 0);
    let tokens = exchange.await.unwrap();
    assert_eq!(tokens.access.secret().expose_secret(), "AT");
    assert_eq!(tokens.refresh.unwrap().origin, server.issuer());
    assert!(browser.await.unwrap().starts_with("HTTP/1.1 "));

    let [request] = server.requests().try_into().unwrap();
    let form = form(&request);
    let names: Vec<_> = form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["grant_type", "code", "redirect_uri", "code_verifier", "client_id"]);
    assert_eq!(form[1].1, "CODE");
    assert_eq!(form[2].1, parameter(&page, "redirect_uri"));
    let challenge = {
        use base64::Engine;
        use sha2::Digest;
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(&form[3].1))
    };
    assert_eq!(challenge, parameter(&page, "code_challenge"));
}

#[tokio::test]
async fn what_is_not_the_answer_leaves_the_login_pending_and_reaches_no_token_endpoint_9207_1_9207_3() {
    let server = ScriptedServer::answering([json(200, TOKENS)]).await;
    let issuer = server.issuer();
    let login = source(&server).begin_login(Flow::Configured).await.unwrap();
    for query in [
        "".to_owned(),
        "code=EVIL&state=wrong".to_owned(),
        "error=access_denied&state=wrong".to_owned(),
        "code=EVIL&state=STATE&iss=https://evil".to_owned(),
        "error=access_denied&state=STATE&iss=https://evil".to_owned(),
        "code=EVIL&code=EVIL&state=STATE".to_owned(),
    ] {
        assert!(!visit(&redirect(&login, &query)).await.unwrap().is_empty(), "{query}");
    }
    let _browser = visit(&redirect(&login, &format!("code=CODE&state=STATE&iss={issuer}")));
    login.answered.await.unwrap().await.unwrap();
    let [request] = server.requests().try_into().unwrap();
    assert_eq!(form(&request)[1].1, "CODE");
}

#[tokio::test]
async fn an_issuer_that_promises_its_name_must_give_it_9207_2() {
    let server = ScriptedServer::answering([json(200, TOKENS)]).await;
    let issuer = Some(server.issuer());
    let endpoints = Endpoints { issuer, redirects: Redirects::NameIssuer, ..server.endpoints() };
    let login = source_at(endpoints).begin_login(Flow::Configured).await.unwrap();
    visit(&redirect(&login, "code=NAMELESS&state=STATE")).await.unwrap();
    let _browser = visit(&redirect(&login, &format!("code=CODE&state=STATE&iss={}", server.issuer())));
    login.answered.await.unwrap().await.unwrap();
    assert_eq!(form(&server.requests()[0])[1].1, "CODE");
}

#[tokio::test]
async fn the_answers_of_two_logins_cannot_be_swapped_9207_5_9700_4_a5() {
    // Two accounts, and an issuer each.
    let servers = [
        ScriptedServer::answering([json(200, TOKENS)]).await,
        ScriptedServer::answering([json(200, TOKENS)]).await,
    ];
    let one = source(&servers[0]).begin_login(Flow::Configured).await.unwrap();
    let other = source(&servers[1]).begin_login(Flow::Configured).await.unwrap();
    let at = |login: &Login, mut url: Url| {
        url.set_port(Url::parse(&parameter(&page(login), "redirect_uri")).unwrap().port()).unwrap();
        url
    };
    let [of_one, of_other] = [(&one, "ONE"), (&other, "OTHER")]
        .map(|(login, code)| redirect(login, &format!("code={code}&state=STATE")));
    // The other's code and state; the own state with a code that is said to be from the other's issuer.
    let named = |login: &Login, issuer: &ScriptedServer| {
        redirect(login, &format!("code=MIXED&state=STATE&iss={}", issuer.issuer()))
    };
    for swapped in [
        at(&other, of_one.clone()),
        at(&one, of_other.clone()),
        named(&one, &servers[1]),
        named(&other, &servers[0]),
    ] {
        visit(&swapped).await.unwrap();
    }
    assert!(servers.iter().all(|server| server.requests().is_empty()));
    let _browsers = [visit(&of_one), visit(&of_other)];
    for (login, server, code) in [(one, &servers[0], "ONE"), (other, &servers[1], "OTHER")] {
        let tokens = login.answered.await.unwrap().await.unwrap();
        assert_eq!(tokens.refresh.unwrap().origin, server.issuer());
        let [request] = server.requests().try_into().unwrap();
        assert_eq!(form(&request)[1].1, code);
    }
}

#[tokio::test]
async fn a_second_callback_posts_no_second_code_d4() {
    let server = ScriptedServer::answering([json(200, TOKENS)]).await;
    let login = source(&server).begin_login(Flow::Configured).await.unwrap();
    let url = redirect(&login, "code=CODE&state=STATE");
    let again = redirect(&login, "code=AGAIN&state=STATE");
    let first = visit(&url);
    let exchange = login.answered.await.unwrap();
    let second = visit(&again);
    let tokens = exchange.await;
    assert!(tokens.is_ok());
    first.await.unwrap();
    // It was let in before the port closed, or it was not; either way it changed nothing.
    drop(second.await);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_exchange_whose_answer_is_lost_or_bad_ends_the_login_9700_8() {
    for (answer, is_refused) in [
        (Vec::new(), false),
        (json(503, ""), false),
        (json(200, "{}"), false),
        (json(400, r#"{"error":"invalid_grant"}"#), true),
    ] {
        let server = ScriptedServer::answering([answer]).await;
        let login = source(&server).begin_login(Flow::Configured).await.unwrap();
        let _browser = visit(&redirect(&login, "code=CANARY-CODE&state=STATE"));
        let failure = login.answered.await.unwrap().await.unwrap_err();
        assert_eq!(matches!(failure, Failure::Refused { .. }), is_refused, "{failure}");
        assert!(!failure.to_string().contains("CANARY"), "{failure}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_person_who_says_no_ends_the_login_6749_14() {
    let server = ScriptedServer::answering([json(200, TOKENS)]).await;
    let login = source(&server).begin_login(Flow::Configured).await.unwrap();
    let query = "error=access_denied&error_description=not%20today&state=STATE";
    let browser = visit(&redirect(&login, query));
    let Err(failure) = login.answered.await else { panic!("an exchange") };
    assert_eq!(failure.to_string(), "the login was denied in the browser: access_denied (not today)");
    assert!(!browser.await.unwrap().contains("not today"));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn an_address_that_was_pasted_is_as_good_as_a_callback_and_looked_at_as_closely() {
    let server = ScriptedServer::answering([json(200, TOKENS)]).await;
    let login = source(&server).begin_login(Flow::Configured).await.unwrap();
    let good = redirect(&login, "code=CODE&state=STATE").to_string();
    let bad = [
        "code=CODE".to_owned(),
        good.replace("127.0.0.1", "evil.example"),
        redirect(&login, "code=CODE&state=wrong").to_string(),
        redirect(&login, "code=CODE&state=STATE&iss=https://evil").to_string(),
    ];
    let pasting = login.pasting.unwrap();
    let answered = tokio::spawn(login.answered);
    for (url, is_good) in bad.into_iter().map(|url| (url, false)).chain([(format!(" {good}#\n"), true)]) {
        let (reply, replied) = oneshot::channel();
        pasting.send(Pasted { url: url.clone().into(), reply }).await.unwrap();
        assert_eq!(replied.await.unwrap().is_ok(), is_good, "{url}");
    }
    assert!(answered.await.unwrap().unwrap().await.is_ok());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_nobody_finishes_ends_and_gives_its_port_back() {
    let server = ScriptedServer::answering([json(200, TOKENS)]).await;
    let mut issuer = Issuer::fake(server.endpoints(), ClientAuthentication::None);
    issuer.clock = Clock::following_tokio();
    let source = AuthorizationCode { issuer: Arc::new(issuer), browser: BrowserLogin::default() };
    let login = source.begin_login(Flow::Configured).await.unwrap();
    let (begun, until) = (source.issuer.clock.now().moment, login.until);
    assert_eq!(until.since(begun), LIMIT);
    let Err(failure) = login.answered.await else { panic!("an exchange") };
    assert!(matches!(failure, Failure::Refused { .. }), "{failure}");
    assert!(source.issuer.clock.now().moment >= until);
}

#[tokio::test]
async fn an_issuer_that_cannot_be_asked_safely_gets_no_browser_7636_2() {
    let server = ScriptedServer::answering([json(200, "")]).await;
    for endpoints in [
        Endpoints { authorization: None, ..server.endpoints() },
        Endpoints { s256: crate::oauth::S256::Lacking, ..server.endpoints() },
    ] {
        let Err(failure) = source_at(endpoints).begin_login(Flow::Configured).await else {
            panic!("a login")
        };
        assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
    }
}

#[tokio::test]
async fn a_person_without_a_browser_may_use_a_code_instead() {
    let codes =
        r#"{"device_code":"DC","user_code":"WDJB-MJHT","verification_uri":"https://i/d","interval":1}"#;
    let server = ScriptedServer::answering([json(200, codes), json(200, TOKENS)]).await;
    let login = source(&server).begin_login(Flow::DeviceCode).await.unwrap();
    assert!(matches!(&login.prompt, Prompt::EnterCode { user_code, .. } if user_code == "WDJB-MJHT"));
    assert!(login.pasting.is_none());
    assert!(login.answered.await.unwrap().await.is_ok());
}

#[tokio::test]
async fn without_a_refresh_token_a_person_is_needed() {
    let server = ScriptedServer::answering([json(200, TOKENS)]).await;
    let source = source(&server);
    assert_eq!(source.attendance(), Attendance::Person);
    let failure = source.renew(None, Wanted::Own).await.unwrap_err();
    assert_eq!(failure, Failure::LoginRequired);
    assert!(server.requests().is_empty());
}
