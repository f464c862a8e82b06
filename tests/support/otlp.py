"""Receivers of OTLP: what a collector gets, over HTTP with protobuf and over gRPC."""

import gzip
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace

KINDS = {
    "/v1/traces": (trace.ExportTraceServiceRequest, trace.ExportTraceServiceResponse),
    "/v1/metrics": (metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse),
    "/v1/logs": (logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse),
}


class Received:
    """What has come in, in the order that it came."""

    def __init__(self):
        self.requests = []
        self.headers = []

    def take(self, request, headers=()):
        self.headers.append({name.lower(): value for name, value in headers})
        self.requests.append(request)

    def _each(self, kind):
        return [request for request in list(self.requests) if type(request).__name__ == f"Export{kind}ServiceRequest"]

    @property
    def spans(self):
        """Name → span."""
        return {
            span.name: span
            for request in self._each("Trace")
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }

    @property
    def metrics(self):
        """Name → the latest metric."""
        return {
            metric.name: metric
            for request in self._each("Metrics")
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def logs(self):
        """Give the records."""
        return [
            record
            for request in self._each("Logs")
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    @property
    def resources(self):
        """Give what each request says that it is of."""
        found = []
        for request in list(self.requests):
            ((_, parts),) = request.ListFields()
            found += [attributes_of(part.resource) for part in parts]
        return found


def attributes_of(thing):
    """Give attributes as a dictionary."""
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value") for each in thing.attributes
    }


@contextmanager
def over_http():
    """Receive over HTTP; gives what has come, and the variables that lead here."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            request, response = KINDS[self.path]
            assert self.headers["content-type"] == "application/x-protobuf"
            received.take(request.FromString(body), self.headers.items())
            answer = response().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received, {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
    finally:
        server.shutdown()
        server.server_close()
        thread.join(20.0)


@contextmanager
def over_grpc():
    """Do the same over gRPC."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # for those who have gRPC

    import grpc  # noqa: PLC0415  # as above

    received = Received()

    def handler(kind, path):
        request, response = KINDS[path]

        def export(message, context):
            received.take(message, context.invocation_metadata())
            return response()

        method = grpc.unary_unary_rpc_method_handler(
            export, request_deserializer=request.FromString, response_serializer=response.SerializeToString
        )
        package = path.rpartition("/")[2].removesuffix("s") if kind == "Trace" else path.rpartition("/")[2]
        name = f"opentelemetry.proto.collector.{package}.v1.{kind}Service"
        return grpc.method_handlers_generic_handler(name, {"Export": method})

    server = grpc.server(ThreadPoolExecutor(4))
    kinds = {"Trace": "/v1/traces", "Metrics": "/v1/metrics", "Logs": "/v1/logs"}
    server.add_generic_rpc_handlers(tuple(handler(kind, path) for kind, path in kinds.items()))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield (
            received,
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            },
        )
    finally:
        server.stop(None).wait(20.0)
