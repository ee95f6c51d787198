//! Who may ask at all: credentials on every route, sign-in, sessions, tokens, requests from other sites.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use spheroctl::domain::users::{self, Passwords, Role};

use crate::support::app::{TestApp, start, start_without_worker, start_without_worker_with, text};

/// Routes that answer anybody: who answers, and the ways in.
const OPEN: [(&str, &str); 3] = [
    ("GET", "/whoami"),
    ("POST", "/api/v1/sessions"),
    ("POST", "/api/v1/sessions/link"),
];

#[tokio::test]
async fn every_route_with_data_asks_who_comes() {
    let test = start_without_worker().await;
    let mut asked = 0;
    for (method, template) in spheroctl::api::endpoints() {
        if OPEN.contains(&(method.as_str(), template)) {
            continue;
        }
        for credentials in ["", "Bearer sph_guessed", "Basic YTpi"] {
            let mut request = test.anonymous(method.clone(), &filled(template));
            if !credentials.is_empty() {
                request = request.header("authorization", credentials);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(
                answer.status(),
                401,
                "{method} {template} with {credentials:?}"
            );
            assert!(
                answer.headers().contains_key("www-authenticate"),
                "{method} {template}"
            );
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            asked += 1;
        }
    }
    assert!(asked >= 3 * 25, "{asked}");
}

#[tokio::test]
async fn who_answers_can_be_hidden() {
    let test = start_without_worker_with(&[("http.expose_instance_id", "false")]).await;
    let name = test.app.instance.unique();
    for path in [
        "/whoami",
        "/readyz",
        "/health",
        "/api/health/ready",
        "/nowhere",
    ] {
        let answer = test.anonymous(Method::GET, path).send().await.unwrap();
        assert!(!answer.headers().contains_key("x-instance-id"), "{path}");
        let text = answer.text().await.unwrap();
        assert!(!text.contains(name), "{path}: {text}");
    }
}

#[tokio::test]
async fn anybody_may_know_who_answers() {
    let test = start_without_worker().await;
    let answer = test.anonymous(Method::GET, "/whoami").send().await.unwrap();
    let id = answer.headers()["x-instance-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let request_id = answer.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["instance"], id.as_str());
    assert_eq!(body["request_id"], request_id.as_str());
    assert_eq!(
        (&body["role"], &body["draining"]),
        (&json!("serve"), &json!(false))
    );
}

#[tokio::test]
async fn a_sign_in_link_works_once() {
    let test = start().await;
    let link = test.sign_in_link.clone().unwrap();
    let (_, code) = link.split_once("/#sign-in=").unwrap();
    let redeem = || {
        test.anonymous(Method::POST, "/api/v1/sessions/link")
            .json(&json!({ "code": code }))
    };
    let answer = redeem().send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let cookies = set_cookies(&answer);
    let secure = cookies
        .iter()
        .find(|cookie| cookie.starts_with("__Host-sid="))
        .unwrap();
    for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(secure.contains(&format!("; {attribute}")), "{secure}");
    }
    assert!(!secure.contains("Domain"), "{secure}");
    let cookie = pair(secure);
    let me = test
        .anonymous(Method::GET, "/api/v1/session")
        .header("cookie", &cookie);
    let me: Value = me.send().await.unwrap().json().await.unwrap();
    assert_eq!(me["email"], "admin@localhost");
    assert_eq!(redeem().send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_password_opens_a_session_and_a_wrong_one_says_nothing() {
    let test = start_without_worker().await;
    let hash = Passwords::new(1)
        .unwrap()
        .hash("correct horse")
        .await
        .unwrap();
    let ada = test
        .person_with("ada@example.org", Role::User, Some(hash.clone()))
        .await;
    let gone = test
        .person_with("gone@example.org", Role::User, Some(hash))
        .await;
    assert!(
        users::disable(&test.app.db, &*test.app.clock, gone.id)
            .await
            .unwrap()
    );
    let mut refusals = Vec::new();
    for (email, password) in [
        ("ada@example.org", "wrong horse"),
        ("nobody@example.org", "correct horse"),
        ("gone@example.org", "correct horse"),
    ] {
        let refused = sign_in(&test, email, password).await;
        assert_eq!(refused.status(), 401, "{email}");
        let mut body: Value = refused.json().await.unwrap();
        body.as_object_mut().unwrap().remove("instance");
        refusals.push(body);
    }
    assert_eq!(refusals[0], refusals[1]);
    assert_eq!(refusals[0], refusals[2]);
    let answer = sign_in(&test, "Ada@Example.org", "correct horse").await;
    assert_eq!(answer.status(), 201);
    assert_eq!(
        answer.json::<Value>().await.unwrap()["id"],
        ada.id.to_string()
    );
}

#[tokio::test]
async fn a_session_ends_when_its_owner_says_so() {
    let test = start_without_worker().await;
    let (first, second) = (session(&test).await, session(&test).await);
    let listed = with_cookie(&test, Method::GET, "/api/v1/sessions", &first).await;
    let listed: Value = listed.json().await.unwrap();
    let current: Vec<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["current"])
        .collect();
    assert_eq!(
        current
            .iter()
            .filter(|current| **current == &json!(true))
            .count(),
        1
    );
    assert_eq!(current.len(), 2);
    let left = with_cookie(&test, Method::DELETE, "/api/v1/session", &first).await;
    assert_eq!(left.status(), 204);
    assert!(
        set_cookies(&left)
            .iter()
            .all(|cookie| cookie.contains("Max-Age=0"))
    );
    assert_eq!(status(&test, &first).await, 401);
    assert_eq!(status(&test, &second).await, 200);
    let all = with_cookie(&test, Method::DELETE, "/api/v1/sessions", &second).await;
    assert_eq!(all.status(), 204);
    assert_eq!(status(&test, &second).await, 401);
}

#[tokio::test]
async fn another_site_cannot_use_a_session() {
    let test = start_without_worker().await;
    let cookie = session(&test).await;
    let own = test.url.clone();
    for (name, value, expected) in [
        ("sec-fetch-site", "same-origin", 201),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("origin", own.as_str(), 201),
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("x-nothing", "said", 403),
    ] {
        let request = test
            .anonymous(Method::POST, "/api/v1/projects")
            .header("cookie", &cookie);
        let answer = request
            .header(name, value)
            .json(&json!({ "name": "plate" }))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), expected, "{name}: {value}");
    }
    // Reading is safe, and a bearer token comes from no browser by itself.
    let read = test
        .anonymous(Method::GET, "/api/v1/projects")
        .header("cookie", &cookie);
    assert_eq!(
        read.header("sec-fetch-site", "cross-site")
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    let bearer = test.request(&test.admin_token, Method::POST, "/api/v1/projects");
    let bearer = bearer
        .header("origin", "https://evil.example")
        .json(&json!({ "name": "plate" }));
    assert_eq!(bearer.send().await.unwrap().status(), 201);
    let login = test
        .anonymous(Method::POST, "/api/v1/sessions")
        .header("sec-fetch-site", "cross-site");
    let login = login.json(&json!({ "email": "a@b", "password": "correct horse" }));
    assert_eq!(login.send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_token_is_shown_once_and_works_until_revoked() {
    let test = start_without_worker().await;
    let ada = test.person("ada@example.org").await;
    let new = json!({ "name": "microscope", "expires_in_days": 30 });
    let made = test
        .request(&ada.token, Method::POST, "/api/v1/tokens")
        .json(&new)
        .send()
        .await
        .unwrap();
    assert_eq!(made.status(), 201);
    let made: Value = made.json().await.unwrap();
    let secret = text(&made["secret"]);
    let listed = test.get(&secret, "/api/v1/tokens").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains(&secret));
    let path = format!("/api/v1/tokens/{}", text(&made["id"]));
    let stranger = test.person("bob@example.org").await;
    let revoke = |token: String| test.request(&token, Method::DELETE, &path).send();
    assert_eq!(revoke(stranger.token).await.unwrap().status(), 404);
    assert_eq!(revoke(ada.token.clone()).await.unwrap().status(), 204);
    let after = test
        .request(&secret, Method::GET, "/api/v1/session")
        .send()
        .await
        .unwrap();
    assert_eq!(after.status(), 401);
    let bad = json!({ "name": "x", "expires_in_days": 0 });
    let refused = test
        .request(&ada.token, Method::POST, "/api/v1/tokens")
        .json(&bad)
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 422);
    assert_eq!(
        refused.json::<Value>().await.unwrap()["errors"][0]["pointer"],
        "/expires_in_days"
    );
}

#[tokio::test]
async fn the_page_is_served_under_a_strict_policy() {
    let test = start_without_worker().await;
    let page = test.anonymous(Method::GET, "/").send().await.unwrap();
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        policy.contains("default-src 'self'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let tag = page.headers()["etag"].clone();
    let again = test
        .anonymous(Method::GET, "/")
        .header("if-none-match", tag)
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 304);
}

/// The template with an id in the place of each parameter.
fn filled(template: &str) -> String {
    let id = uuid::Uuid::nil().to_string();
    let parts = template
        .split('/')
        .map(|part| match part.strip_prefix('{') {
            Some(_) => id.as_str(),
            None => part,
        });
    parts.collect::<Vec<_>>().join("/")
}

async fn sign_in(test: &TestApp, email: &str, password: &str) -> Response {
    let body = json!({ "email": email, "password": password });
    test.anonymous(Method::POST, "/api/v1/sessions")
        .json(&body)
        .send()
        .await
        .unwrap()
}

/// The cookie of a new session of `ada@example.org`.
async fn session(test: &TestApp) -> String {
    if users::find_by_email(&test.app.db, "ada@example.org")
        .await
        .unwrap()
        .is_none()
    {
        let hash = Passwords::new(1)
            .unwrap()
            .hash("correct horse")
            .await
            .unwrap();
        test.person_with("ada@example.org", Role::User, Some(hash))
            .await;
    }
    let answer = sign_in(test, "ada@example.org", "correct horse").await;
    pair(&set_cookies(&answer)[0])
}

async fn with_cookie(test: &TestApp, method: Method, path: &str, cookie: &str) -> Response {
    let request = test.anonymous(method, path).header("cookie", cookie);
    request
        .header("sec-fetch-site", "same-origin")
        .send()
        .await
        .unwrap()
}

async fn status(test: &TestApp, cookie: &str) -> StatusCode {
    with_cookie(test, Method::GET, "/api/v1/session", cookie)
        .await
        .status()
}

fn set_cookies(answer: &Response) -> Vec<String> {
    let cookies = answer.headers().get_all("set-cookie").iter();
    cookies
        .map(|cookie| cookie.to_str().unwrap().to_owned())
        .collect()
}

/// Name and value of a cookie, without its attributes.
fn pair(cookie: &str) -> String {
    cookie.split(';').next().unwrap().to_owned()
}
