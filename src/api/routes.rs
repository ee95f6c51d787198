//! How a line of the route list becomes a route.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{self, MethodRouter};
use http::{HeaderValue, Method, header};

use crate::http::without_time_limit;

use super::Api;
use super::rate_limit::{self, Class, Limit};

/// A route before it is part of a router.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    handler: MethodRouter<Api>,
    class: Option<Class>,
}

impl Route {
    /// The route tries credentials.
    pub(super) fn signing_in(self) -> Self {
        Self {
            class: Some(Class::SignIn),
            ..self
        }
    }

    /// Requests of the route are not counted.
    pub(super) fn unlimited(self) -> Self {
        Self {
            class: None,
            ..self
        }
    }

    /// The route's bodies stream: their silences and their own limits bound them, not the time and size of a request.
    pub(super) fn streaming(self) -> Self {
        let handler = self
            .handler
            .layer(DefaultBodyLimit::disable())
            .layer(from_fn(without_time_limit));
        Self { handler, ..self }
    }
}

/// A route that reads.
pub(super) fn get<H: Handler<T, Api>, T: 'static>(path: &'static str, handler: H) -> Route {
    let (method, handler) = (Method::GET, routing::get(handler));
    Route {
        method,
        path,
        handler,
        class: Some(Class::Read),
    }
}

/// A route that makes something.
pub(super) fn post<H: Handler<T, Api>, T: 'static>(path: &'static str, handler: H) -> Route {
    let (method, handler) = (Method::POST, routing::post(handler));
    Route {
        method,
        path,
        handler,
        class: Some(Class::Write),
    }
}

/// A route that sets something.
pub(super) fn put<H: Handler<T, Api>, T: 'static>(path: &'static str, handler: H) -> Route {
    let (method, handler) = (Method::PUT, routing::put(handler));
    Route {
        method,
        path,
        handler,
        class: Some(Class::Write),
    }
}

/// A route that removes something.
pub(super) fn delete<H: Handler<T, Api>, T: 'static>(path: &'static str, handler: H) -> Route {
    let (method, handler) = (Method::DELETE, routing::delete(handler));
    Route {
        method,
        path,
        handler,
        class: Some(Class::Write),
    }
}

/// The router of these routes. Its answers are not kept by anybody unless they say otherwise (ASVS 5.0, 14.3.2).
pub(super) fn router(routes: Vec<Route>, api: Api) -> Router {
    routes
        .into_iter()
        .fold(Router::new(), |router, route| {
            router.route(route.path, limited(&api, route))
        })
        .layer(axum::middleware::map_response(not_stored))
        .with_state(api)
}

fn limited(api: &Api, route: Route) -> MethodRouter<Api> {
    let (Some(limits), Some(class)) = (&api.rate_limits, route.class) else {
        return route.handler;
    };
    let limit = Limit {
        api: api.clone(),
        limits: limits.clone(),
        class,
    };
    let layer = from_fn_with_state(limit, rate_limit::enforce);
    route.handler.route_layer(layer)
}

async fn not_stored(mut response: Response) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(no_store);
    response
}
