import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/** The jobs of the benchmark on Kafka Streams: exactly once, RocksDB, every update out. */
public final class StreamsPeer {
  private static final int USER_LEN = 8;
  private static final long EXIT_DELAY = 5000;
  private static final int PARTITIONS = 4;

  public static void main(String[] args) {
    Map<String, String> o = new HashMap<>();
    for (int i = 0; i < args.length; i += 2) {
      o.put(args[i], args[i + 1]);
    }
    KafkaStreams streams = new KafkaStreams(new StreamsPeer(o).builder.build(), settings(o));
    streams.setUncaughtExceptionHandler(
        e -> {
          e.printStackTrace();
          Runtime.getRuntime().halt(1);
          return null;
        });
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
  }

  private static Properties settings(Map<String, String> o) {
    Properties p = new Properties();
    p.put(StreamsConfig.APPLICATION_ID_CONFIG, o.get("-group"));
    p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, o.get("-brokers"));
    p.put(StreamsConfig.STATE_DIR_CONFIG, o.get("-dir"));
    p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, o.get("-commit"));
    p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
    p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    p.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
    // A static member, as procd's workers are: a restart does not wait for the session timeout.
    p.put(StreamsConfig.consumerPrefix(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG), "seat");
    p.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 10_000);
    p.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    p.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5000);
    p.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 4 << 20);
    p.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
    p.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 64 << 20);
    return p;
  }

  private final StreamsBuilder builder = new StreamsBuilder();

  private StreamsPeer(Map<String, String> o) {
    String kind = o.get("-kind"), in = o.get("-in"), out = o.get("-out");
    Serde<byte[]> bytes = Serdes.ByteArray();
    switch (kind) {
      case "copy":
        builder.stream(in, Consumed.with(bytes, bytes)).to(out, Produced.with(bytes, bytes));
        break;
      case "count":
        count(builder.stream(in, Consumed.with(bytes, bytes)), out);
        break;
      case "two-stages":
        count(
            builder.stream(in, Consumed.with(bytes, bytes))
                .selectKey((k, v) -> Arrays.copyOf(v, USER_LEN))
                .repartition(Repartitioned.with(bytes, bytes).withName("by-user").withNumberOfPartitions(PARTITIONS)),
            out);
        break;
      case "alarm":
        builder.stream(in, Consumed.with(bytes, json(Event.class)))
            .process(stateful("arm", json(Armed.class), Alarm::new))
            .to(out, Produced.with(bytes, json(Event.class)));
        break;
      default:
        throw new IllegalArgumentException(kind);
    }
  }

  private static void count(KStream<byte[], byte[]> records, String out) {
    records
        .process(stateful("counts", Serdes.Long(), Count::new))
        .to(out, Produced.with(Serdes.ByteArray(), Serdes.Long()));
  }

  /** A processor with a store of its own, whose changes all go to the changelog. */
  private static <V, S, R> ProcessorSupplier<byte[], V, byte[], R> stateful(
      String name, Serde<S> state, java.util.function.Supplier<Processor<byte[], V, byte[], R>> make) {
    return new ProcessorSupplier<>() {
      @Override
      public Processor<byte[], V, byte[], R> get() {
        return make.get();
      }

      @Override
      public java.util.Set<StoreBuilder<?>> stores() {
        return java.util.Set.of(
            Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(name), Serdes.ByteArray(), state));
      }
    };
  }

  private static final class Count implements Processor<byte[], byte[], byte[], Long> {
    private ProcessorContext<byte[], Long> context;
    private KeyValueStore<byte[], Long> counts;

    @Override
    public void init(ProcessorContext<byte[], Long> context) {
      this.context = context;
      counts = context.getStateStore("counts");
    }

    @Override
    public void process(Record<byte[], byte[]> r) {
      Long before = counts.get(r.key());
      Long n = before == null ? 1L : before + 1;
      counts.put(r.key(), n);
      context.forward(r.withValue(n));
    }
  }

  private static final class Alarm implements Processor<byte[], Event, byte[], Event> {
    private ProcessorContext<byte[], Event> context;
    private KeyValueStore<byte[], Armed> rooms;

    @Override
    public void init(ProcessorContext<byte[], Event> context) {
      this.context = context;
      rooms = context.getStateStore("arm");
    }

    @Override
    public void process(Record<byte[], Event> r) {
      Event e = r.value();
      switch (e.type) {
        case "activate":
        case "deactivate":
          Armed now = new Armed();
          now.active = e.type.equals("activate");
          now.since = e.time;
          rooms.put(r.key(), now);
          break;
        case "motion":
          Armed armed = rooms.get(r.key());
          if (armed != null && armed.active && e.time - armed.since > EXIT_DELAY) {
            Event alarm = new Event();
            alarm.type = "ALARM";
            alarm.room = e.room;
            alarm.time = e.time;
            context.forward(r.withValue(alarm));
          }
          break;
        default:
      }
    }
  }

  @JsonIgnoreProperties(ignoreUnknown = true)
  public static final class Event {
    public String type;
    public int room;
    public long time;
  }

  public static final class Armed {
    public boolean active;
    public long since;
  }

  private static <T> Serde<T> json(Class<T> type) {
    if (type == Armed.class) {
      @SuppressWarnings("unchecked")
      Serde<T> s = (Serde<T>) armed();
      return s;
    }
    ObjectMapper mapper = new ObjectMapper();
    ObjectReader reader = mapper.readerFor(type);
    ObjectWriter writer = mapper.writerFor(type);
    Serializer<T> ser =
        (topic, v) -> {
          try {
            return v == null ? null : writer.writeValueAsBytes(v);
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        };
    Deserializer<T> de =
        (topic, b) -> {
          try {
            return b == null ? null : reader.readValue(b);
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        };
    return Serdes.serdeFrom(ser, de);
  }

  /** The state is binary, as procd's is: a boolean and a long. */
  private static Serde<Armed> armed() {
    return Serdes.serdeFrom(
        (topic, a) -> a == null ? null : ByteBuffer.allocate(9).put((byte) (a.active ? 1 : 0)).putLong(a.since).array(),
        (topic, b) -> {
          if (b == null) {
            return null;
          }
          ByteBuffer buf = ByteBuffer.wrap(b);
          Armed a = new Armed();
          a.active = buf.get() != 0;
          a.since = buf.getLong();
          return a;
        });
  }
}
