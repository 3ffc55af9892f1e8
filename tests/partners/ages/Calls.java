import io.grpc.CallOptions;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/** Calls over many connections by grpc-java: {@code Calls ADDRESS CONNECTIONS SECONDS} */
public final class Calls {
  private static final byte[] REQUEST = {8, 1};
  private static final int PAUSE_MS = 2000;
  private static final int CALL_MAX_S = 20;
  private static final int LINES = 5;

  /** EmployeeService.GetEmployee with employee_id = 1, as bytes: no compiled messages are needed. */
  private static final MethodDescriptor<byte[], byte[]> METHOD = MethodDescriptor.<byte[], byte[]>newBuilder()
      .setType(MethodDescriptor.MethodType.UNARY)
      .setFullMethodName("ringway.demo.employee.v1.EmployeeService/GetEmployee")
      .setRequestMarshaller(new AsBytes())
      .setResponseMarshaller(new AsBytes())
      .build();

  private static final ScheduledExecutorService CLOCK = Executors.newSingleThreadScheduledExecutor();
  private static final AtomicLong CALLS = new AtomicLong();
  private static final AtomicLong FAILED = new AtomicLong();

  private Calls() {}

  public static void main(String[] arguments) throws Exception {
    int connections = Integer.parseInt(arguments[1]);
    long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(Long.parseLong(arguments[2]));
    CountDownLatch all = new CountDownLatch(connections);
    for (int i = 0; i < connections; i++) {
      ManagedChannel channel =
          NettyChannelBuilder.forTarget(arguments[0], InsecureChannelCredentials.create()).build();
      new Caller(channel, until, all).run();
    }
    all.await();
    String version = ManagedChannel.class.getPackage().getImplementationVersion();
    System.out.printf("grpc-java %s: %d calls, %d failed%n", version, CALLS.get(), FAILED.get());
    System.exit(0);
  }

  /** A connection that calls, pauses, and calls again. */
  private record Caller(ManagedChannel channel, long until, CountDownLatch all) implements Runnable, StreamObserver<byte[]> {
    @Override
    public void run() {
      if (System.nanoTime() - until >= 0) {
        channel.shutdown();
        all.countDown();
        return;
      }
      CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(CALL_MAX_S, TimeUnit.SECONDS);
      ClientCalls.asyncUnaryCall(channel.newCall(METHOD, options), REQUEST, this);
    }

    @Override
    public void onNext(byte[] response) {}

    @Override
    public void onError(Throwable error) {
      if (FAILED.incrementAndGet() <= LINES) {
        System.out.println(error);
      }
      again();
    }

    @Override
    public void onCompleted() {
      CALLS.incrementAndGet();
      again();
    }

    private void again() {
      CLOCK.schedule(this, ThreadLocalRandom.current().nextLong(PAUSE_MS), TimeUnit.MILLISECONDS);
    }
  }

  private static final class AsBytes implements MethodDescriptor.Marshaller<byte[]> {
    @Override
    public InputStream stream(byte[] bytes) {
      return new ByteArrayInputStream(bytes);
    }

    @Override
    public byte[] parse(InputStream stream) {
      try {
        return stream.readAllBytes();
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }
  }
}
