// Elastic's mock OTLP server on free ports of 127.0.0.1. It writes lines of JSON: its URLs, then each request and what it decoded.
import { MockOtlpServer, normalizeMetrics, normalizeTrace } from '@elastic/mockotlpserver';

const write = (line) => console.log(JSON.stringify(line));
const server = new MockOtlpServer({
  logLevel: 'warn',
  services: ['http', 'grpc'],
  httpHostname: '127.0.0.1',
  httpPort: 0,
  grpcHostname: '127.0.0.1',
  grpcPort: 0,
  onRequest: ({ transport, path, headers }) => write({ transport, path, headers }),
  onTrace: (trace) => write(normalizeTrace(trace)),
  onMetrics: (metrics) => write(normalizeMetrics(metrics)),
});
process.on('SIGTERM', () => process.exit());  // between two callbacks: the server responds before it has written
await server.start();
write({ http: server.httpUrl.origin, grpc: server.grpcUrl.href });
