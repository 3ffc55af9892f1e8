import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.okhttp.OkHttpChannelBuilder;
import io.grpc.testing.integration.AbstractInteropTest;
import java.io.File;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/**
 * grpc-java's interoperability cases over both of its transports: {@code Interop cases|refused FOLDER WHERE [WAY
 * CREDENTIALS ADDRESS]...}
 *
 * <p>FOLDER has the certificates. Says a row for each way and transport, in the format of the property {@code row}: how many
 * cases there are and how many passed. With {@code refused} the one case is that a call is refused.
 */
public final class Interop extends AbstractInteropTest {
  private static final String ROW = System.getProperty("row") + "%n";
  private static final List<String> TRANSPORTS = List.of("netty", "okhttp");
  private static final int CASE_MAX_S = 60;
  private static final int OPERATION_MAX_MS = 30_000;

  /**
   * The first three look into a service of the same process. The last wants a status in the words of the client's own timer; that
   * of a gateway, which has the same code, may come first.
   */
  private static final Set<String> LEFT_OUT = Set.of(
      "censusContextsPropagated", "getServerAddressAndLocalAddressFromClient", "sendsTimeoutHeader", "deadlineExceeded");

  /**
   * These are not marked as tests. Those with a parameter would ask first if the service looks at compression; that of grpc-java
   * does not.
   */
  private static final Set<String> UNMARKED =
      Set.of("clientCompressedUnary", "clientCompressedStreaming", "serverCompressedStreaming");

  private final ManagedChannelBuilder<?> builder;

  private Interop(ManagedChannelBuilder<?> builder) {
    this.builder = builder;
  }

  @Override
  protected ManagedChannelBuilder<?> createChannelBuilder() {
    return builder;
  }

  @Override
  protected ManagedChannel createChannel() {
    return builder.build();
  }

  @Override
  protected boolean metricsExpected() {
    return false;
  }

  @Override
  protected int operationTimeoutMillis() {
    return OPERATION_MAX_MS;
  }

  public static void main(String[] arguments) throws Exception {
    boolean isRefused = arguments[0].equals("refused");
    File folder = new File(arguments[1]);
    boolean isGood = true;
    for (int at = 3; at < arguments.length; at += 3) {
      for (String transport : TRANSPORTS) {
        End end = new End(transport, credentials(folder, arguments[at + 1]), arguments[at + 2]);
        int cases = isRefused ? 1 : cases().size();
        int passed = isRefused ? refused(end) : passed(end);
        System.out.printf(ROW, arguments[2], arguments[at], transport, cases, passed);
        isGood &= passed == cases;
      }
    }
    System.exit(isGood ? 0 : 1);
  }

  private static ChannelCredentials credentials(File folder, String name) throws Exception {
    if (name.equals("plaintext")) {
      return InsecureChannelCredentials.create();
    }
    TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder().trustManager(new File(folder, "ca.pem"));
    return switch (name) {
      case "TLS" -> tls.build();
      case "mutual" -> tls.keyManager(new File(folder, "client.crt"), new File(folder, "client.key")).build();
      case "stranger" -> tls.keyManager(new File(folder, "stranger.crt"), new File(folder, "stranger.key")).build();
      default -> throw new IllegalArgumentException(name);
    };
  }

  /** A client's end. */
  private record End(String transport, ChannelCredentials credentials, String address) {
    ManagedChannelBuilder<?> channel() {
      ManagedChannelBuilder<?> channel = transport.equals("netty")
          ? NettyChannelBuilder.forTarget(address, credentials).flowControlWindow(TEST_FLOW_CONTROL_WINDOW)
          : OkHttpChannelBuilder.forTarget(address, credentials);
      return channel.overrideAuthority("api.example.org").maxInboundMessageSize(MAX_MESSAGE_SIZE);
    }
  }

  private static List<Method> cases() {
    return Arrays.stream(AbstractInteropTest.class.getMethods())
        .filter(method -> UNMARKED.contains(method.getName()) || method.isAnnotationPresent(org.junit.Test.class))
        .filter(method -> !LEFT_OUT.contains(method.getName()))
        .sorted(Comparator.comparing(Method::getName))
        .collect(Collectors.toList());
  }

  private static int passed(End end) {
    int passed = 0;
    for (Method method : cases()) {
      try {
        within(CASE_MAX_S, () -> run(method, end));
        passed++;
      } catch (Throwable error) { // each case is told, whatever it ended with
        System.err.printf("%s by %s: %s%n", method.getName(), end.transport, error);
      }
    }
    return passed;
  }

  private static Void run(Method method, End end) throws Exception {
    Interop interop = new Interop(end.channel());
    interop.setUp();
    try {
      method.invoke(interop, method.getParameterCount() == 0 ? new Object[0] : new Object[] {false});
    } catch (InvocationTargetException error) {
      throw new Exception(error.getCause());
    } finally {
      interop.tearDown();
    }
    return null;
  }

  private static void within(int seconds, Callable<Void> task) throws Exception {
    ExecutorService executor = Executors.newSingleThreadExecutor();
    Future<Void> done = executor.submit(task);
    try {
      done.get(seconds, TimeUnit.SECONDS);
    } finally {
      executor.shutdownNow();
    }
  }

  private static int refused(End end) {
    Interop interop = new Interop(end.channel());
    interop.setUp();
    Status status = Status.OK;
    try {
      interop.blockingStub.withDeadlineAfter(CASE_MAX_S, TimeUnit.SECONDS).emptyCall(EMPTY);
    } catch (StatusRuntimeException error) {
      status = error.getStatus();
    } finally {
      interop.tearDown();
    }
    if (status.getCode() == Status.Code.UNAVAILABLE) {
      return 1;
    }
    System.err.printf("a call by %s: %s%n", end.transport, status);
    return 0;
  }
}
