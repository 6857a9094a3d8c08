import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's own programs one after the other in one process, since the start of a process takes
 * longer than most of them. A line on standard input is one run, {"main", "args", "stdin"}; a line
 * on standard output is how it ended, {"code", "out", "err"}.
 */
public final class Judge {
    private static final ObjectMapper JSON = new ObjectMapper();

    /** A program's end: what would otherwise end this process. Says nothing where a program catches and prints it. */
    private static final class Ended extends Error {
        private static final long serialVersionUID = 1L;

        Ended() {
            super("", null, false, false);
        }

        @Override
        public void printStackTrace(PrintStream to) {}

        @Override
        public void printStackTrace(PrintWriter to) {}
    }

    /** What a program keeps in static fields must not reach its next run. */
    private static final class Afresh extends ClassLoader {
        Afresh() {
            super(Judge.class.getClassLoader());
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            // Others load the interfaces by themselves.
            if (!name.startsWith("org.apache.kafka.tools.") || name.startsWith("org.apache.kafka.tools.api.")) {
                return super.loadClass(name, resolve);
            }
            synchronized (getClassLoadingLock(name)) {
                Class<?> loaded = findLoadedClass(name);
                return loaded == null ? define(name) : loaded;
            }
        }

        private Class<?> define(String name) throws ClassNotFoundException {
            try (InputStream bytes = getParent().getResourceAsStream(name.replace('.', '/') + ".class")) {
                if (bytes == null) {
                    throw new ClassNotFoundException(name);
                }
                byte[] all = bytes.readAllBytes();
                return defineClass(name, all, 0, all.length);
            } catch (java.io.IOException unreadable) {
                throw new ClassNotFoundException(name, unreadable);
            }
        }
    }

    private Integer code;
    private final List<Runnable> hooks = new ArrayList<>();

    private void end(int status) {
        // Some programs catch what is thrown here and end once more.
        if (code == null) {
            code = status;
        }
        throw new Ended();
    }

    private void run(String main, String[] arguments) {
        Exit.setExitProcedure((status, message) -> end(status));
        Exit.setHaltProcedure((status, message) -> end(status));
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        try {
            Class<?> program = Class.forName(main, true, new Afresh());
            program.getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException thrown) {
            if (code == null) {
                thrown.getCause().printStackTrace();
                code = 1;
            }
        } catch (ReflectiveOperationException wrong) {
            wrong.printStackTrace();
            code = 127;
        }
        hooks.forEach(Runnable::run);
    }

    private static ObjectNode run(JsonNode wanted) {
        List<String> arguments = new ArrayList<>();
        wanted.get("args").forEach(argument -> arguments.add(argument.asText()));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        System.setIn(new ByteArrayInputStream(wanted.get("stdin").asText().getBytes(StandardCharsets.UTF_8)));
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        Judge judge = new Judge();
        judge.run(wanted.get("main").asText(), arguments.toArray(new String[0]));
        System.out.flush();
        System.err.flush();
        return JSON.createObjectNode()
            .put("code", judge.code == null ? 0 : judge.code)
            .put("out", out.toString(StandardCharsets.UTF_8))
            .put("err", err.toString(StandardCharsets.UTF_8));
    }

    /** Runs until standard input ends. */
    public static void main(String[] none) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintWriter answers = new PrintWriter(System.out, true, StandardCharsets.UTF_8);
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            answers.println(JSON.writeValueAsString(run(JSON.readTree(line))));
        }
        // Whatever thread a program has left behind.
        Runtime.getRuntime().halt(0);
    }
}
