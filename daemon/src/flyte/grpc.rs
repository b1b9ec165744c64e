//! By gRPC: `flyteidl.service.AuthMetadataService`, which every endpoint of version 1 has.
//!
//! Both questions go over one connection, which ends with them. The thing to get wrong: the limit on an answer is
//! tonic's to keep, and the one on time the caller's.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioExecutor;
use prost::Message;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower_service::Service;

use crate::flyte::Endpoint;
use crate::flyte::ask::{Miss, Nature};
use crate::flyte::message::{Empty, Said};
use crate::oauth::connector::Connector;

/// The largest answer. They have a dozen short texts.
const LARGEST: usize = 64 * 1024;

const METADATA: &str = "/flyteidl.service.AuthMetadataService/GetOAuth2Metadata";
const CLIENT: &str = "/flyteidl.service.AuthMetadataService/GetPublicClientConfig";

/// Asks both questions.
pub(super) async fn ask(connector: &Connector, endpoint: &Endpoint) -> Result<Said, Miss> {
    let origin: Uri =
        endpoint.at("/").as_str().parse().map_err(|_| Miss::trouble("no address".to_owned()))?;
    let connected = connector.connect(origin.clone()).await;
    let io =
        connected.map_err(|unreachable| Miss { words: unreachable.reason, nature: Nature::Unreachable })?;
    let greeted = http2::handshake(TokioExecutor::new(), io).await;
    let (requests, connection) = greeted.map_err(|_| Miss::trouble("no HTTP/2".to_owned()))?;
    // Ends the connection when we are done or given up.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let grpc = Grpc::with_origin(Requests(requests), origin).max_decoding_message_size(LARGEST);
    Ok(Said { metadata: call(grpc.clone(), METADATA).await?, client: call(grpc, CLIENT).await? })
}

async fn call<T>(mut grpc: Grpc<Requests>, path: &'static str) -> Result<T, Miss>
where
    T: Message + Default + Send + Sync + 'static,
{
    grpc.ready().await.map_err(|_| Miss::trouble("no HTTP/2".to_owned()))?;
    let codec = ProstCodec::<Empty, T>::default();
    let asked = grpc.unary(tonic::Request::new(Empty {}), PathAndQuery::from_static(path), codec).await;
    asked.map(tonic::Response::into_inner).map_err(|status| miss(&status))
}

fn miss(status: &Status) -> Miss {
    match status.code() {
        Code::Unimplemented => Miss { words: "unimplemented".to_owned(), nature: Nature::Absent },
        Code::Unauthenticated | Code::PermissionDenied => {
            Miss::trouble("it wants credentials even for this".to_owned())
        }
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Miss::trouble(format!("{:?}", status.code()).to_lowercase()),
    }
}

/// The sending side of the one connection.
#[derive(Clone)]
struct Requests(SendRequest<Body>);

impl Service<Request<Body>> for Requests {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
