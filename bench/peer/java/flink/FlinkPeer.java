import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.ExternalizedCheckpointRetention;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.configuration.StateRecoveryOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetResetStrategy;
import org.apache.kafka.clients.producer.ProducerRecord;

/** The jobs of the benchmark on a Flink MiniCluster: exactly once, a checkpoint every second. */
public final class FlinkPeer {
  private static final int USER_LEN = 8;
  private static final long EXIT_DELAY = 5000;
  private static final int PARALLELISM = 2;

  public static void main(String[] args) throws Exception {
    Map<String, String> o = new HashMap<>();
    for (int i = 0; i < args.length; i += 2) {
      o.put(args[i], args[i + 1]);
    }
    StreamExecutionEnvironment env =
        StreamExecutionEnvironment.createLocalEnvironment(PARALLELISM, settings(o));
    build(env, o);
    env.execute(o.get("-group"));
  }

  private static Configuration settings(Map<String, String> o) throws IOException {
    Path checkpoints = Path.of(o.get("-dir"), "checkpoints");
    Configuration c = new Configuration();
    c.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, java.time.Duration.ofSeconds(1));
    c.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
    c.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, checkpoints.toUri().toString());
    c.set(CheckpointingOptions.EXTERNALIZED_CHECKPOINT_RETENTION, ExternalizedCheckpointRetention.RETAIN_ON_CANCELLATION);
    c.set(CheckpointingOptions.INCREMENTAL_CHECKPOINTS, true);
    c.set(StateBackendOptions.STATE_BACKEND, o.get("-backend"));
    c.set(PipelineOptions.OBJECT_REUSE, true);
    c.set(RestartStrategyOptions.RESTART_STRATEGY, "none");
    c.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(512));
    Optional<Path> latest = latest(checkpoints);
    latest.ifPresent(p -> c.set(StateRecoveryOptions.SAVEPOINT_PATH, p.toUri().toString()));
    return c;
  }

  /** The newest complete checkpoint that an earlier process of this job left. */
  private static Optional<Path> latest(Path checkpoints) throws IOException {
    if (!Files.isDirectory(checkpoints)) {
      return Optional.empty();
    }
    try (Stream<Path> all = Files.find(checkpoints, 3, (p, a) -> p.endsWith("_metadata"))) {
      return all.max(Comparator.comparingLong(p -> p.toFile().lastModified())).map(Path::getParent);
    }
  }

  private static void build(StreamExecutionEnvironment env, Map<String, String> o) {
    String out = o.get("-out");
    switch (o.get("-kind")) {
      case "copy":
        source(env, o, Types.TUPLE(Types.PRIMITIVE_ARRAY(Types.BYTE), Types.PRIMITIVE_ARRAY(Types.BYTE)), r -> Tuple2.of(r.key(), r.value()))
            .sinkTo(FlinkPeer.<Tuple2<byte[], byte[]>>sink(o, (v, at) -> new ProducerRecord<>(out, null, at, v.f0, v.f1)));
        break;
      case "count":
        count(source(env, o, Types.STRING, r -> new String(r.key(), StandardCharsets.ISO_8859_1)), o);
        break;
      case "two-stages":
        count(source(env, o, Types.STRING, r -> new String(r.value(), 0, USER_LEN, StandardCharsets.ISO_8859_1)), o);
        break;
      case "alarm":
        EventCodec json = new EventCodec();
        source(env, o, Types.POJO(Event.class), r -> json.read(r.value()))
            .keyBy(e -> e.room)
            .process(new Alarm())
            .sinkTo(FlinkPeer.<Event>sink(o, (e, at) ->
                new ProducerRecord<>(out, null, at, Integer.toString(e.room).getBytes(StandardCharsets.ISO_8859_1), json.write(e))));
        break;
      default:
        throw new IllegalArgumentException(o.get("-kind"));
    }
  }

  private static void count(DataStream<String> keys, Map<String, String> o) {
    String out = o.get("-out");
    keys.keyBy(k -> k)
        .process(new Count())
        .sinkTo(FlinkPeer.<Tuple2<String, Long>>sink(o, (v, at) ->
            new ProducerRecord<>(out, null, at, v.f0.getBytes(StandardCharsets.ISO_8859_1), ByteBuffer.allocate(8).putLong(v.f1).array())));
  }

  private interface Read<T> extends Serializable {
    T read(ConsumerRecord<byte[], byte[]> r) throws IOException;
  }

  private interface Write<T> extends Serializable {
    ProducerRecord<byte[], byte[]> write(T value, Long timestamp);
  }

  private static <T> DataStream<T> source(StreamExecutionEnvironment env, Map<String, String> o, TypeInformation<T> type, Read<T> read) {
    KafkaSource<T> source =
        KafkaSource.<T>builder()
            .setBootstrapServers(o.get("-brokers"))
            .setTopics(o.get("-in"))
            .setGroupId(o.get("-group"))
            .setStartingOffsets(OffsetsInitializer.committedOffsets(OffsetResetStrategy.EARLIEST))
            .setProperty("max.partition.fetch.bytes", Integer.toString(4 << 20))
            .setProperty("max.poll.records", "5000")
            .setDeserializer(
                new KafkaRecordDeserializationSchema<T>() {
                  @Override
                  public void deserialize(ConsumerRecord<byte[], byte[]> r, Collector<T> c) throws IOException {
                    c.collect(read.read(r));
                  }

                  @Override
                  public TypeInformation<T> getProducedType() {
                    return type;
                  }
                })
            .build();
    return env.fromSource(source, WatermarkStrategy.noWatermarks(), "in");
  }

  private static <T> KafkaSink<T> sink(Map<String, String> o, Write<T> write) {
    return KafkaSink.<T>builder()
        .setBootstrapServers(o.get("-brokers"))
        .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .setTransactionalIdPrefix(o.get("-group"))
        .setProperty("transaction.timeout.ms", "60000")
        .setProperty("batch.size", Integer.toString(256 << 10))
        .setProperty("linger.ms", "20")
        .setProperty("buffer.memory", Integer.toString(64 << 20))
        .setRecordSerializer((KafkaRecordSerializationSchema<T>) (v, context, at) -> write.write(v, at))
        .build();
  }

  private static final class Count extends KeyedProcessFunction<String, String, Tuple2<String, Long>> {
    private transient ValueState<Long> counts;

    @Override
    public void open(OpenContext context) {
      counts = getRuntimeContext().getState(new ValueStateDescriptor<>("counts", Types.LONG));
    }

    @Override
    public void processElement(String key, Context context, Collector<Tuple2<String, Long>> out) throws Exception {
      Long before = counts.value();
      Long n = before == null ? 1L : before + 1;
      counts.update(n);
      out.collect(Tuple2.of(key, n));
    }
  }

  private static final class Alarm extends KeyedProcessFunction<Integer, Event, Event> {
    private transient ValueState<Armed> rooms;

    @Override
    public void open(OpenContext context) {
      rooms = getRuntimeContext().getState(new ValueStateDescriptor<>("arm", Types.POJO(Armed.class)));
    }

    @Override
    public void processElement(Event e, Context context, Collector<Event> out) throws Exception {
      switch (e.type) {
        case "activate":
        case "deactivate":
          Armed now = new Armed();
          now.active = e.type.equals("activate");
          now.since = e.time;
          rooms.update(now);
          break;
        case "motion":
          Armed armed = rooms.value();
          if (armed != null && armed.active && e.time - armed.since > EXIT_DELAY) {
            Event alarm = new Event();
            alarm.type = "ALARM";
            alarm.room = e.room;
            alarm.time = e.time;
            out.collect(alarm);
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

  /** Made anew where it is used: Jackson's readers are not sent along. */
  private static final class EventCodec implements Serializable {
    private transient ObjectReader reader;
    private transient ObjectWriter writer;

    Event read(byte[] b) throws IOException {
      if (reader == null) {
        reader = new ObjectMapper().readerFor(Event.class);
      }
      return reader.readValue(b);
    }

    byte[] write(Event e) {
      try {
        if (writer == null) {
          writer = new ObjectMapper().writerFor(Event.class);
        }
        return writer.writeValueAsBytes(e);
      } catch (IOException x) {
        throw new UncheckedIOException(x);
      }
    }
  }
}
