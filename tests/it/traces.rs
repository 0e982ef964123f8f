//! Export by OTLP, to real receivers over both protocols, to one that is down, and to one that never answers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use cvsync::simulator::{Fault, Operation};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

use crate::http_proxy::HttpProxy;
use crate::process::{Process, free_address, output};
use crate::running::until;
use crate::world::World;

/// Traces, metrics, and the `authorization` of requests over gRPC.
type Requests = (
    Vec<ExportTraceServiceRequest>,
    Vec<ExportMetricsServiceRequest>,
    Vec<String>,
);

#[derive(Clone, Default)]
struct Received(Arc<Mutex<Requests>>);

impl Received {
    fn spans(&self) -> Vec<Span> {
        let received = self.0.lock().unwrap();
        let scopes = received.0.iter().flat_map(|r| &r.resource_spans);
        scopes
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| scope.spans.clone())
            .collect()
    }

    fn text(&self) -> String {
        format!("{:?}", self.0.lock().unwrap())
    }

    fn metrics(&self) -> Vec<String> {
        let received = self.0.lock().unwrap();
        let scopes = received.1.iter().flat_map(|r| &r.resource_metrics);
        scopes
            .flat_map(|resource| &resource.scope_metrics)
            .flat_map(|scope| scope.metrics.iter().map(|metric| metric.name.clone()))
            .collect()
    }

    /// The sum of the latest values of a counter.
    fn counted(&self, name: &str) -> f64 {
        let received = self.0.lock().unwrap();
        let told = received.1.iter().rev().find_map(|request| {
            let scopes = request
                .resource_metrics
                .iter()
                .flat_map(|r| &r.scope_metrics);
            let metric = scopes
                .flat_map(|scope| &scope.metrics)
                .find(|m| m.name == name);
            match &metric?.data {
                Some(Data::Sum(sum)) => Some(sum.data_points.clone()),
                _ => None,
            }
        });
        let points = told.into_iter().flatten();
        points
            .map(|point| match point.value {
                Some(Value::AsDouble(value)) => value,
                _ => 0.0,
            })
            .sum()
    }
}

async fn http_receiver(received: Received) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route(
            "/v1/traces",
            post(|State(received): State<Received>, body: Bytes| async move {
                let request = ExportTraceServiceRequest::decode(body).unwrap();
                received.0.lock().unwrap().0.push(request);
            }),
        )
        .route(
            "/v1/metrics",
            post(|State(received): State<Received>, body: Bytes| async move {
                let request = ExportMetricsServiceRequest::decode(body).unwrap();
                received.0.lock().unwrap().1.push(request);
            }),
        )
        .with_state(received);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.0.lock().unwrap();
        let header = request.metadata().get_all("authorization").into_iter();
        let header = header.map(|value| value.to_str().unwrap().to_owned());
        received.2.extend(header);
        received.0.push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Received {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.0.lock().unwrap().1.push(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

fn grpc_receiver(received: Received) -> String {
    let address = free_address();
    let server = tonic::transport::Server::builder()
        .add_service(
            TraceServiceServer::new(received.clone()).accept_compressed(CompressionEncoding::Gzip),
        )
        .add_service(
            MetricsServiceServer::new(received).accept_compressed(CompressionEncoding::Gzip),
        )
        .serve(address.parse().unwrap());
    tokio::spawn(server);
    format!("http://{address}")
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|one| one.key == name)?;
    Some(format!("{:?}", found.value))
}

/// Checks the spans of one sync: one trace, each span under its parent, and no id of a CV.
async fn assert_a_run_is_one_trace(world: &World, received: &Received) {
    let spans = received.spans();
    let named =
        |name: &str| -> Vec<&Span> { spans.iter().filter(|span| span.name == name).collect() };
    let runs = named("sync");
    let all: BTreeSet<_> = spans.iter().map(|span| &span.name).collect();
    assert_eq!(runs.len(), 1, "{all:?}");
    let (run, trace) = (&runs[0].span_id, &runs[0].trace_id);
    assert!(runs[0].parent_span_id.is_empty());
    for span in &spans {
        assert_eq!(&span.trace_id, trace, "{}", span.name);
    }
    let windows = named("window");
    assert!(!windows.is_empty());
    let is_window = |id: &Vec<u8>| windows.iter().any(|window| window.span_id == *id);
    assert!(windows.iter().all(|window| window.parent_span_id == *run));
    let pages = named("GET /kandidaten/bulk");
    assert!(!pages.is_empty());
    assert!(pages.iter().all(|page| is_window(&page.parent_span_id)));
    let cvs = named("cv");
    assert!(
        !cvs.is_empty() && cvs.len() < 100,
        "{} of 1,500 CVs",
        cvs.len()
    );
    assert!(cvs.iter().all(|cv| is_window(&cv.parent_span_id)));
    let details = named("GET /kandidaten/{id}");
    assert!(details.len() >= cvs.len());
    let batches = named("batch");
    let links: usize = batches.iter().map(|batch| batch.links.len()).sum();
    assert_eq!(links, cvs.len(), "each traced CV is linked to by its batch");
    let failed: Vec<_> = spans
        .iter()
        .filter_map(|span| attribute(span, "error.type"))
        .collect();
    assert!(
        failed.iter().any(|class| class.contains("server_error")),
        "{failed:?}"
    );
    let text = received.text();
    assert!(text.contains("service.name") && text.contains("cvsync"));
    for id in world.documents().await.keys() {
        assert!(!text.contains(&id.to_string()), "an id in a trace");
    }
}

async fn synced(world: &World, variables: &[(&str, &str)]) -> Duration {
    let begun = Instant::now();
    let mut sync = Process::start(world, &["sync"], variables);
    let status = sync.ended_within(Duration::from_mins(4)).await;
    assert!(status.success(), "{}", sync.log());
    begun.elapsed()
}

async fn world() -> World {
    let world = World::new(1_500).await;
    world
        .source
        .script(Operation::Bulk, [Fault::Http500, Fault::Pass]);
    world
}

#[tokio::test]
async fn a_run_is_one_trace_over_http() {
    let (world, received) = (world().await, Received::default());
    let url = http_receiver(received.clone()).await;
    synced(&world, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]).await;
    assert_a_run_is_one_trace(&world, &received).await;
}

#[tokio::test]
async fn a_run_is_one_trace_over_grpc() {
    let (world, received) = (world().await, Received::default());
    let url = grpc_receiver(received.clone());
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    synced(&world, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), grpc]).await;
    assert_a_run_is_one_trace(&world, &received).await;
}

#[tokio::test]
async fn a_daemon_pushes_its_metrics_and_its_log_lines_carry_the_id_of_their_trace() {
    let (world, received) = (World::new(50).await, Received::default());
    let url = http_receiver(received.clone()).await;
    let mut daemon = Process::run(
        &world,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
            ("OTEL_METRIC_EXPORT_INTERVAL", "300"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.namespace=hr,service.instance.id=pod-7",
            ),
        ],
    );
    daemon.until_synced().await;
    let metrics = daemon.get("/metrics").await.unwrap().1;
    let who = metrics.lines().find(|line| line.starts_with("target_info"));
    for words in ["\"pod-7\"", "\"hr\"", "\"cvsync\""] {
        assert!(who.unwrap().contains(words), "{who:?}");
    }
    while !received
        .metrics()
        .iter()
        .any(|name| name == "cvsync.source.lag")
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    daemon.signal("-TERM");
    assert!(daemon.ended_within(Duration::from_secs(10)).await.success());
    let run = received
        .spans()
        .into_iter()
        .find(|span| span.name == "sync")
        .unwrap();
    let id = u128::from_be_bytes(run.trace_id.try_into().unwrap());
    let id = format!("{id:032x}");
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("\"done\"")).unwrap();
    assert!(line.contains(&id), "{id} is not in {line}");
    let names = received.metrics();
    for name in ["cvsync.records", "http.client.request.duration"] {
        assert!(
            names.iter().any(|found| found == name),
            "{name} is not in {names:?}"
        );
    }
}

#[tokio::test]
async fn closed_gates_are_counted_without_scrapes() {
    let (world, received) = (World::new(5).await, Received::default());
    let url = http_receiver(received.clone()).await;
    let _daemon = Process::run(
        &world,
        &[
            ("CVSYNC_API_KEY", "wrong"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
            ("OTEL_METRIC_EXPORT_INTERVAL", "300"),
        ],
    );
    until("the time is reported", async || {
        received.counted("cvsync.gate.closed") > 2.0
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_is_away_or_never_answers_holds_nothing_up() {
    let world = World::new(300).await;
    // All that takes time then is the exporter.
    world.sync().await;
    let nobody = format!("http://{}", free_address());
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for url in [nobody, silent] {
        for protocol in ["http/protobuf", "grpc"] {
            let took = synced(
                &world,
                &[
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ],
            )
            .await;
            assert!(took < Duration::from_secs(20), "{protocol}: {took:?}");
        }
    }
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn a_daemon_stops_soon_while_its_collector_never_answers() {
    let world = World::new(3).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let mut daemon = Process::run(&world, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &silent)]);
    daemon.until_synced().await;
    daemon.signal("-TERM");
    // Metrics and traces wait for the collector, one after the other.
    let status = daemon.ended_within(Duration::from_secs(6)).await;
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
}

#[tokio::test]
async fn variable_that_is_not_obeyed_is_named_in_one_warning_and_traces_go_on() {
    let (world, received) = (World::new(1).await, Received::default());
    let url = http_receiver(received.clone()).await;
    let nobody = format!("http://{}", free_address());
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_LOG_LEVEL", "debug"),
        ("OTEL_SERVICE_NAME", "\"quoted name\""),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=h%20r"),
        // This machine is asked directly.
        ("HTTP_PROXY", nobody.as_str()),
    ];
    let mut sync = Process::start(&world, &["sync"], &variables);
    let status = sync.ended_within(Duration::from_secs(30)).await;
    assert!(status.success(), "{}", sync.log());
    let log = sync.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("OTEL_")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    for name in [
        "OTEL_EXPORTER_OTLP_PROTOCOL (must be",
        "OTEL_BSP_MAX_QUEUE_SIZE (must be",
        "OTEL_LOG_LEVEL (set CVSYNC_LOG instead)",
    ] {
        assert!(warnings[0].contains(name), "{log}");
    }
    let text = received.text();
    assert!(
        text.contains("\"quoted name\"") && text.contains("\"h r\""),
        "{text}"
    );
}

#[tokio::test]
async fn collector_is_checked_over_both_protocols_and_the_cause_is_told() {
    let (world, received) = (World::new(1).await, Received::default());
    let environment = world.environment();
    let base = || environment.iter().map(|(n, v)| (*n, v.as_str()));
    let http = http_receiver(received.clone()).await;
    let grpc = grpc_receiver(received);
    until("gRPC is served", async || {
        tokio::net::TcpStream::connect(grpc.trim_start_matches("http://"))
            .await
            .is_ok()
    })
    .await;
    let nobody = format!("http://{}", free_address());
    let page = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    let stern = HttpProxy::answering(&page("401 Unauthorized")).await;
    let other = HttpProxy::answering(&page("404 Not Found")).await;
    let stern = format!("http://127.0.0.1:{}", stern.port);
    let other = format!("http://127.0.0.1:{}", other.port);
    for (url, protocol, words) in [
        (&http, "http/protobuf", "accepts them"),
        (&grpc, "grpc", "accepts them"),
        (
            &nobody,
            "http/protobuf",
            "connection was refused; check host and port in OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        (&nobody, "grpc", "connection was refused"),
        (
            &stern,
            "http/protobuf",
            "refuses the credentials (401); check OTEL_EXPORTER_OTLP_HEADERS",
        ),
        (
            &other,
            "http/protobuf",
            "responds with status 404; check host, port and path",
        ),
    ] {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ];
        let (code, told, _) = output(&["check"], base().chain(variables)).await;
        let taken = words == "accepts them";
        assert_eq!(code, Some(i32::from(!taken)), "{url} {protocol}: {told}");
        assert_eq!(told.matches(words).count(), 2, "both signals: {told}");
    }
    let mut sync = Process::start(
        &world,
        &["sync"],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &nobody)],
    );
    assert!(sync.ended_within(Duration::from_secs(30)).await.success());
    let cause = "so they are dropped: the connection was refused";
    assert!(sync.log().contains(cause), "{}", sync.log());
}

/// As `docker run --env-file` passes it on. The library reads it once more, with the quotation marks.
const QUOTED: (&str, &str) = ("OTEL_EXPORTER_OTLP_HEADERS", "\"authorization=Bearer%20x\"");

#[tokio::test]
async fn traces_go_through_the_proxy_over_both_protocols() {
    let (world, received) = (World::new(1).await, Received::default());
    let grpc = grpc_receiver(received.clone());
    let proxy = HttpProxy::to(grpc.trim_start_matches("http://")).await;
    let through = format!("http://me:pw@127.0.0.1:{}", proxy.port);
    let variables = [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://collector.example:4317",
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        QUOTED,
        ("HTTP_PROXY", &through),
    ];
    synced(&world, &variables).await;
    assert!(proxy.saw("CONNECT collector.example:4317 "));
    assert!(proxy.saw("Basic bWU6cHc="), "me:pw");
    assert!(received.spans().iter().any(|span| span.name == "sync"));
    let sent = received.0.lock().unwrap().2.clone();
    assert!(
        !sent.is_empty() && sent.iter().all(|header| header == "Bearer x"),
        "{sent:?}"
    );

    let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    let proxy = HttpProxy::answering(answer).await;
    let through = format!("http://me:canary@127.0.0.1:{}", proxy.port);
    let variables = [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://collector.example:4318",
        ),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        QUOTED,
        ("HTTP_PROXY", &through),
    ];
    let mut sync = Process::start(&world, &["sync"], &variables);
    assert!(sync.ended_within(Duration::from_secs(30)).await.success());
    for words in [
        "POST http://collector.example:4318/v1/traces ",
        "authorization: Bearer x\r\n",
        "content-encoding: gzip",
    ] {
        assert!(proxy.saw(words), "{words}");
    }
    let log = sync.log();
    assert!(
        log.contains("(HTTP_PROXY) requires valid credentials"),
        "{log}"
    );
    assert!(!log.contains("canary"), "{log}");
}
