//! gRPC through the filter: messages, statuses and trailers reach the client; the mirror gets the same messages.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::http::uri::PathAndQuery;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_stream::Iter;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Response, Status};
use tower_service::Service as Tower;

use harness::client::{Body, Req};
use harness::upstream::{Answer, Handler, Service};
use harness::{Mesh, Setup, run};

/// Messages are bytes: nothing here depends on what protobuf makes of them.
#[derive(Clone, Copy)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// The method `Say`: one message for one message, or the status that the message names.
struct Say;

impl Tower<tonic::Request<Bytes>> for Say {
    type Response = Response<Bytes>;
    type Error = Status;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let message = request.into_inner();
        ready(match &message[..] {
            b"who" => Err(Status::not_found("nobody")),
            b"down" => Err(Status::unavailable("says the server")),
            _ => Ok(Response::new(Bytes::from([b"echo ", &message[..]].concat()))),
        })
    }
}

/// The method `Count`: three messages, then the end, which is an error if the message says so.
struct Count;

impl Tower<tonic::Request<Bytes>> for Count {
    type Response = Response<Iter<std::vec::IntoIter<Result<Bytes, Status>>>>;
    type Error = Status;
    type Future = Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let mut answers: Vec<_> = ["1", "2", "3"].map(|n| Ok(Bytes::from(n))).into();
        if request.into_inner() == "fail" {
            answers.push(Err(Status::data_loss("after three")));
        }
        ready(Ok(Response::new(tokio_stream::iter(answers))))
    }
}

fn server() -> Service {
    let handler: Handler = Arc::new(|request: Request<Body>| {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Plain);
            let response = match request.uri().path() {
                "/test.Echo/Say" => grpc.unary(Say, request).await,
                _ => grpc.server_streaming(Count, request).await,
            };
            response.map(|body| body.map_err(Into::into).boxed_unsync())
        })
    });
    Answer::Handled(handler).into()
}

/// An HTTP/2 connection as tonic wants it.
struct Channel(http2::SendRequest<tonic::body::Body>);

impl Tower<Request<tonic::body::Body>> for Channel {
    type Response = hyper::Response<Incoming>;
    type Error = hyper::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

async fn connect(mesh: &Mesh) -> tonic::client::Grpc<Channel> {
    let io = TokioIo::new(TcpStream::connect(mesh.address("main")).await.unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let origin = "http://echo.test".parse().unwrap();
    let mut client = tonic::client::Grpc::with_origin(Channel(sender), origin);
    client.ready().await.unwrap();
    client
}

fn request(message: &'static str) -> tonic::Request<Bytes> {
    let mut request = tonic::Request::new(Bytes::from(message));
    request.metadata_mut().insert("x-user", "tester".parse().unwrap());
    request
}

fn to(cluster: &str) -> Value {
    json!({"rules": [{"mirrors": [{"cluster": cluster}]}]})
}

fn setup(cluster: &str) -> Setup {
    Setup::new(to(cluster)).h2_upstreams().primary(server()).mirror(server())
}

const SAY: PathAndQuery = PathAndQuery::from_static("/test.Echo/Say");
const COUNT: PathAndQuery = PathAndQuery::from_static("/test.Echo/Count");

#[test]
fn a_unary_call_is_answered_and_mirrored() {
    run(setup("mirror"), async |mesh| {
        let mut client = connect(mesh).await;
        let answer = client.unary(request("hello"), SAY, Plain).await.unwrap();
        assert_eq!(answer.get_ref(), "echo hello");
        mesh.responses("rule-0", "mirror", "2xx", 1).await;
        let (primary, copy) = (&mesh.primary.received(1).await[0], &mesh.mirror.received(1).await[0]);
        assert_eq!((&copy.method, &copy.path, &copy.body), (&primary.method, &primary.path, &primary.body));
        for name in ["content-type", "te", "x-user"] {
            assert_eq!(copy.values(name), primary.values(name), "{name}");
        }
        assert_eq!(copy.authority, "echo.test-shadow");
    });
}

#[test]
fn the_status_of_a_unary_call_reaches_the_client_and_is_a_response_of_the_mirror() {
    run(setup("mirror"), async |mesh| {
        let mut client = connect(mesh).await;
        for (message, code, text) in [("who", Code::NotFound, "nobody"), ("down", Code::Unavailable, "says the server")]
        {
            client.ready().await.unwrap();
            let status = client.unary(request(message), SAY, Plain).await.unwrap_err();
            assert_eq!((status.code(), status.message()), (code, text));
        }
        // HTTP says 200 to both: what Envoy would make of their grpc-status counts, here in headers, for there is no message.
        mesh.responses("rule-0", "mirror", "4xx", 1).await;
        mesh.responses("rule-0", "mirror", "5xx", 1).await;
    });
}

#[test]
fn a_server_streaming_call_is_answered_and_mirrored_with_its_trailers() {
    run(setup("mirror"), async |mesh| {
        let mut client = connect(mesh).await;
        for (message, end) in [("go", Code::Ok), ("fail", Code::DataLoss)] {
            client.ready().await.unwrap();
            let mut stream = client.server_streaming(request(message), COUNT, Plain).await.unwrap().into_inner();
            for expected in ["1", "2", "3"] {
                assert_eq!(stream.message().await.unwrap().unwrap(), expected);
            }
            let code = stream.message().await.map_or_else(
                |status| status.code(),
                |m| {
                    assert_eq!(m, None);
                    Code::Ok
                },
            );
            assert_eq!(code, end);
        }
        // The second status comes in trailers, behind three messages.
        mesh.responses("rule-0", "mirror", "2xx", 1).await;
        mesh.responses("rule-0", "mirror", "5xx", 1).await;
        let bodies =
            |all: Vec<harness::upstream::Received>| -> Vec<Bytes> { all.into_iter().map(|r| r.body).collect() };
        assert_eq!(bodies(mesh.mirror.received(2).await), bodies(mesh.primary.received(2).await));
    });
}

#[test]
fn a_call_whose_mirror_cannot_be_reached_counts_as_failed() {
    run(setup("refused"), async |mesh| {
        let mut client = connect(mesh).await;
        client.unary(request("hello"), SAY, Plain).await.unwrap();
        // Envoy makes HTTP status 200 and a gRPC status of it, and that is no answer of the mirror.
        mesh.responses("rule-0", "refused", "failed", 1).await;
    });
}

#[test]
fn a_call_whose_mirror_never_responds_is_a_timeout() {
    let plugin = json!({"rules": [{"mirrors": [{"cluster": "mirror", "timeout": "300ms"}]}]});
    run(Setup::new(plugin).h2_upstreams().primary(server()).mirror(Answer::Never), async |mesh| {
        let mut client = connect(mesh).await;
        client.unary(request("hello"), SAY, Plain).await.unwrap();
        mesh.responses("rule-0", "mirror", "timeout", 1).await;
    });
}

#[test]
fn a_copy_that_is_made_a_grpc_request_fails_where_its_mirror_cannot_be_reached() {
    let mirror = json!({"cluster": "refused", "headers": {"set": {"content-type": "application/grpc"}}});
    let plugin = json!({"rules": [{"compare": {"status": true}, "mirrors": [mirror]}]});
    run(Setup::new(plugin), async |mesh| {
        assert_eq!(mesh.send(Req::post("/", "x").header("content-type", "text/plain")).await.status, 200);
        mesh.responses("rule-0", "refused", "failed", 1).await;
        mesh.until("the pair", |l| l.compared("rule-0", "refused", "primary_only") == 1).await;
    });
}

/// The status of gRPC comes in what the filter does not look at.
#[test]
fn what_a_grpc_call_and_its_copy_return_is_not_compared() {
    let plugin = json!({"rules": [{"compare": {"status": true}, "mirrors": [{"cluster": "mirror"}]}]});
    run(Setup::new(plugin).h2_upstreams().primary(server()).mirror(server()), async |mesh| {
        let mut client = connect(mesh).await;
        client.unary(request("hello"), SAY, Plain).await.unwrap();
        client.ready().await.unwrap();
        client.unary(request("down"), SAY, Plain).await.unwrap_err();
        mesh.until("the pairs", |l| l.compared("rule-0", "mirror", "not_compared") == 2).await;
    });
}
