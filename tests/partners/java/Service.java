import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerCredentials;
import io.grpc.ServerInterceptor;
import io.grpc.ServerInterceptors;
import io.grpc.TlsServerCredentials;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.testing.integration.AbstractInteropTest;
import io.grpc.testing.integration.TestServiceImpl;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.atomic.AtomicLong;

/**
 * grpc-java's interoperability service, three times: {@code Service FOLDER}, which has the certificates.
 *
 * <p>It says the ports of plaintext, of TLS and of mutual TLS in one line. For each line of its standard input it says how many
 * calls have begun; it ends with that input.
 */
public final class Service {
  private static final AtomicLong CALLS = new AtomicLong();

  private Service() {}

  public static void main(String[] arguments) throws Exception {
    File folder = new File(arguments[0]);
    ScheduledExecutorService executor = Executors.newScheduledThreadPool(2);
    List<Server> servers = List.of(
        start(InsecureServerCredentials.create(), executor),
        start(tls(folder).build(), executor),
        start(mutual(folder), executor));
    System.out.printf("%d %d %d%n", servers.stream().map(Server::getPort).toArray());
    BufferedReader asked = new BufferedReader(new InputStreamReader(System.in));
    while (asked.readLine() != null) {
      System.out.println(CALLS.get());
    }
    servers.forEach(Server::shutdownNow);
    System.exit(0);
  }

  private static TlsServerCredentials.Builder tls(File folder) throws Exception {
    return TlsServerCredentials.newBuilder().keyManager(new File(folder, "ecdsa.crt"), new File(folder, "ecdsa.key"));
  }

  private static ServerCredentials mutual(File folder) throws Exception {
    return tls(folder)
        .trustManager(new File(folder, "ca.pem"))
        .clientAuth(TlsServerCredentials.ClientAuth.REQUIRE)
        .build();
  }

  private static Server start(ServerCredentials credentials, ScheduledExecutorService executor) throws Exception {
    List<ServerInterceptor> interceptors = new ArrayList<>(TestServiceImpl.interceptors());
    interceptors.add(new Counted());
    return NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0), credentials)
        .maxInboundMessageSize(AbstractInteropTest.MAX_MESSAGE_SIZE)
        .addService(ServerInterceptors.intercept(new TestServiceImpl(executor), interceptors))
        .build()
        .start();
  }

  private static final class Counted implements ServerInterceptor {
    @Override
    public <T, U> ServerCall.Listener<T> interceptCall(
        ServerCall<T, U> call, Metadata metadata, ServerCallHandler<T, U> next) {
      CALLS.incrementAndGet();
      return next.startCall(call, metadata);
    }
  }
}
