/* Plays capture devices of Video4Linux to a program that it is loaded into (LD_PRELOAD), by scripts.
 *
 * V4L2_PLAYED names a folder. /dev/videoN is played where that has a file N, and is in the listing of /dev. The script is
 * lines, see tests/src/v4l2.rs, which writes them. Structures and numbers are the kernel's own, from its header; frames lie in
 * memory that is mapped as a driver's buffers are. Unlike a camera, it waits for a free buffer instead of dropping a frame. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { DEVICES = 8, BUFFERS = 32, FORMATS = 8, EVENTS = 4096, MAX_NUMBER = 64 };

struct event {
    char file[64]; /* "-": the errno below instead of a frame */
    long used;     /* bytes that the driver says; -1: as many as there are */
    int skip;      /* frames that it had no buffer for */
    int flags;
    long age; /* microseconds of its stamp; negative lies ahead */
    int error;
};

struct format {
    unsigned fourcc, width, height;
};

struct device {
    int fd, lock, number;
    struct format formats[FORMATS];
    int format_count, chosen;
    unsigned frames, seconds; /* its rate; 0: not known */
    long interval;            /* microseconds that pass between frames, whatever it says */
    long buffer_bytes;
    struct event *events;
    int event_count, loops, ends; /* 'ends': ENODEV behind the last frame, else silence */
    int at, buffer_count, is_streaming, is_gone;
    int queue[BUFFERS], queued;
    unsigned sequence;
    long long due;
    char *memory;
};

static struct device devices[DEVICES];
static int openings[MAX_NUMBER];
static DIR *listing;
static int listed;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000LL + time.tv_nsec / 1000;
}

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

static const char *folder(void) { return getenv("V4L2_PLAYED"); }

static void path_of(char *path, size_t size, const char *name) { snprintf(path, size, "%s/%s", folder(), name); }

static int (*real_open(void))(const char *, int, ...) { return (int (*)(const char *, int, ...))next("open64"); }

static void real_close(int fd) { ((int (*)(int))next("close"))(fd); }

/* What happens, for the test: each line is written at once. */
static void note(int number, const char *what) {
    char path[512], line[64];
    path_of(path, sizeof path, "log");
    int log = real_open()(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    int length = snprintf(line, sizeof line, "%d %s\n", number, what);
    if (log < 0 || write(log, line, length) != length) abort();
    real_close(log);
}

static struct device *of(int fd) {
    for (int i = 0; i < DEVICES; i++)
        if (devices[i].memory && devices[i].fd == fd) return &devices[i];
    return NULL;
}

/* Reads the script's section for this opening: the last one is for all that follow. Returns an errno that opening fails with. */
static int read_script(struct device *device, FILE *script, int opening) {
    char line[512], word[64];
    int section = 0, error = 0;
    while (fgets(line, sizeof line, script)) {
        struct event event = {.used = -1};
        struct format *format = &device->formats[device->format_count];
        char fourcc[5] = "";
        if (strncmp(line, "opening", 7) == 0) {
            if (section++ > opening) break;
            error = device->format_count = device->event_count = device->loops = device->ends = 0;
            continue;
        }
        if (sscanf(line, "refuse %d", &error) == 1) continue;
        if (sscanf(line, "format %4c %u %u", fourcc, &format->width, &format->height) == 3) {
            memcpy(&format->fourcc, fourcc, 4);
            device->format_count++;
        } else if (sscanf(line, "rate %u %u", &device->frames, &device->seconds) == 2) {
        } else if (sscanf(line, "interval %ld", &device->interval) == 1) {
        } else if (sscanf(line, "buffers %ld", &device->buffer_bytes) == 1) {
        } else if (sscanf(line, "frame %63s %ld %d %d %ld %d", event.file, &event.used, &event.skip, &event.flags, &event.age, &event.error) == 6) {
            if (device->event_count == EVENTS) abort();
            device->events[device->event_count++] = event;
        } else if (sscanf(line, "%63s", word) == 1) {
            if (strcmp(word, "loop") == 0) device->loops = 1;
            else if (strcmp(word, "gone") == 0) device->ends = 1;
            else abort();
        }
    }
    return error;
}

/* 0: not a device that is played. */
static int open_played(const char *path, int *fd) {
    char script_path[512], name[16], extra;
    int number;
    if (!folder() || sscanf(path, "/dev/video%d%c", &number, &extra) != 1 || number < 0 || number >= MAX_NUMBER) return 0;
    snprintf(name, sizeof name, "%d", number);
    path_of(script_path, sizeof script_path, name);
    FILE *script = fopen(script_path, "re");
    if (!script) return 0;
    pthread_mutex_lock(&guard);
    struct device *device = NULL;
    for (int i = 0; i < DEVICES && !device; i++)
        if (!devices[i].memory) device = &devices[i];
    if (!device) abort();
    *device = (struct device){.number = number, .lock = -1, .fd = -1, .interval = 40000, .buffer_bytes = 1 << 20};
    device->events = calloc(EVENTS, sizeof *device->events);
    int error = read_script(device, script, openings[number]++);
    fclose(script);
    if (error) {
        free(device->events);
        errno = error;
        *fd = -1;
    } else {
        *fd = device->fd = memfd_create("video", MFD_CLOEXEC);
        size_t all = BUFFERS * device->buffer_bytes;
        if (device->fd < 0 || ftruncate(device->fd, all)) abort();
        device->memory = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_SHARED, device->fd, 0);
        if (device->memory == MAP_FAILED) abort();
        note(number, "open");
    }
    pthread_mutex_unlock(&guard);
    return 1;
}

static int open_any(const char *name, const char *path, int flags, int mode) {
    int fd;
    if (open_played(path, &fd)) return fd;
    return ((int (*)(const char *, int, ...))next(name))(path, flags, mode);
}

#define OPEN(name)                                                         \
    int name(const char *path, int flags, ...) {                           \
        va_list more;                                                      \
        va_start(more, flags);                                             \
        int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, int) : 0; \
        va_end(more);                                                      \
        return open_any(#name, path, flags, mode);                         \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    pthread_mutex_lock(&guard);
    struct device *device = of(fd);
    if (device) {
        note(device->number, device->is_streaming ? "closed while streaming" : "close");
        munmap(device->memory, BUFFERS * device->buffer_bytes);
        free(device->events);
        int lock = device->lock;
        device->memory = NULL;
        if (lock >= 0) real_close(lock);
    }
    pthread_mutex_unlock(&guard);
    return ((int (*)(int))next("close"))(fd);
}

/* One program at a time sets it up and streams, as with a driver of the kernel. */
static int own(struct device *device) {
    char path[512], name[16];
    if (device->lock >= 0) return 0;
    snprintf(name, sizeof name, "%d.lock", device->number);
    path_of(path, sizeof path, name);
    int lock = real_open()(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock < 0) abort();
    if (flock(lock, LOCK_EX | LOCK_NB)) {
        real_close(lock);
        return EBUSY;
    }
    device->lock = lock;
    return 0;
}

static void say_format(struct device *device, struct v4l2_pix_format *pix) {
    struct format *format = &device->formats[device->chosen];
    unsigned line = format->fourcc == V4L2_PIX_FMT_YUYV ? format->width * 2 : 0;
    *pix = (struct v4l2_pix_format){.width = format->width, .height = format->height, .pixelformat = format->fourcc,
        .field = V4L2_FIELD_NONE, .bytesperline = line, .sizeimage = device->buffer_bytes};
}

static int set_format(struct device *device, struct v4l2_format *format) {
    int error = own(device);
    if (error) return error;
    /* What it has not got is answered by its first format, as drivers do. */
    device->chosen = 0;
    for (int i = 0; i < device->format_count; i++) {
        struct format *has = &device->formats[i];
        if (has->fourcc == format->fmt.pix.pixelformat && has->width == format->fmt.pix.width && has->height == format->fmt.pix.height)
            device->chosen = i;
    }
    say_format(device, &format->fmt.pix);
    return 0;
}

/* Formats that have the same four characters are sizes of one. */
static int list_format(struct device *device, struct v4l2_fmtdesc *entry) {
    unsigned seen = 0;
    for (int i = 0; i < device->format_count; i++) {
        int is_first = 1;
        for (int j = 0; j < i; j++) is_first &= device->formats[j].fourcc != device->formats[i].fourcc;
        if (!is_first || seen++ != entry->index) continue;
        entry->pixelformat = device->formats[i].fourcc;
        snprintf((char *)entry->description, sizeof entry->description, "Played \x1b[31m");
        return 0;
    }
    return EINVAL;
}

static int list_size(struct device *device, struct v4l2_frmsizeenum *entry) {
    unsigned seen = 0;
    for (int i = 0; i < device->format_count; i++) {
        if (device->formats[i].fourcc != entry->pixel_format || seen++ != entry->index) continue;
        entry->type = V4L2_FRMSIZE_TYPE_DISCRETE;
        entry->discrete = (struct v4l2_frmsize_discrete){device->formats[i].width, device->formats[i].height};
        return 0;
    }
    return EINVAL;
}

static int fill(struct device *device, struct v4l2_buffer *buffer) {
    if (!device->is_streaming) return EINVAL;
    if (device->at == device->event_count && device->loops) device->at = 0;
    if (device->at == device->event_count && device->ends) {
        note(device->number, "gone");
        device->is_gone = 1;
        return ENODEV;
    }
    if (device->at == device->event_count || device->queued == 0 || now() < device->due) return EAGAIN;
    struct event *event = &device->events[device->at++];
    device->due = now() + device->interval;
    if (event->error) return event->error;
    int index = device->queue[0];
    memmove(device->queue, device->queue + 1, --device->queued * sizeof *device->queue);
    char path[512];
    path_of(path, sizeof path, event->file);
    int file = real_open()(path, O_RDONLY | O_CLOEXEC);
    long bytes = read(file, device->memory + index * device->buffer_bytes, device->buffer_bytes);
    if (file < 0 || bytes < 0) abort();
    real_close(file);
    long long taken = now() - event->age;
    device->sequence += event->skip;
    buffer->index = index;
    buffer->bytesused = event->used < 0 ? bytes : event->used;
    buffer->flags = V4L2_BUF_FLAG_MAPPED | event->flags;
    buffer->timestamp = (struct timeval){taken / 1000000, taken % 1000000};
    buffer->sequence = device->sequence++;
    buffer->length = device->buffer_bytes;
    return 0;
}

static int answer(struct device *device, unsigned long request, void *argument) {
    struct v4l2_buffer *buffer = argument;
    struct v4l2_streamparm *parameters = argument;
    if (device->is_gone) return ENODEV;
    switch (request) {
    case VIDIOC_QUERYCAP: {
        struct v4l2_capability *capability = argument;
        snprintf((char *)capability->driver, sizeof capability->driver, "played");
        snprintf((char *)capability->card, sizeof capability->card, "Desk\nCamera %d", device->number);
        capability->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        capability->capabilities = capability->device_caps | V4L2_CAP_DEVICE_CAPS;
        return 0;
    }
    case VIDIOC_ENUM_FMT: return list_format(device, argument);
    case VIDIOC_ENUM_FRAMESIZES: return list_size(device, argument);
    case VIDIOC_ENUM_FRAMEINTERVALS: {
        struct v4l2_frmivalenum *entry = argument;
        if (entry->index || !device->frames) return EINVAL;
        entry->type = V4L2_FRMIVAL_TYPE_DISCRETE;
        entry->discrete = (struct v4l2_fract){device->seconds, device->frames};
        return 0;
    }
    case VIDIOC_G_FMT: say_format(device, &((struct v4l2_format *)argument)->fmt.pix); return 0;
    case VIDIOC_S_FMT: return set_format(device, argument);
    case VIDIOC_G_PARM:
    case VIDIOC_S_PARM:
        if (!device->frames) return ENOTTY;
        parameters->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
        parameters->parm.capture.timeperframe = (struct v4l2_fract){device->seconds, device->frames};
        return 0;
    case VIDIOC_REQBUFS: {
        struct v4l2_requestbuffers *wish = argument;
        int error = own(device);
        if (!error) device->buffer_count = wish->count = wish->count < BUFFERS ? wish->count : BUFFERS;
        return error;
    }
    case VIDIOC_QUERYBUF:
        if (buffer->index >= (unsigned)device->buffer_count) return EINVAL;
        buffer->length = device->buffer_bytes;
        buffer->m.offset = buffer->index * device->buffer_bytes;
        return 0;
    case VIDIOC_QBUF:
        if (buffer->index >= (unsigned)device->buffer_count || device->queued == device->buffer_count) return EINVAL;
        device->queue[device->queued++] = buffer->index;
        return 0;
    case VIDIOC_DQBUF: return fill(device, buffer);
    case VIDIOC_STREAMON:
        device->is_streaming = 1;
        note(device->number, "on");
        return 0;
    case VIDIOC_STREAMOFF:
        device->is_streaming = 0;
        note(device->number, "off");
        return 0;
    default: return ENOTTY;
    }
}

int ioctl(int fd, unsigned long request, ...) {
    va_list more;
    va_start(more, request);
    void *argument = va_arg(more, void *);
    va_end(more);
    pthread_mutex_lock(&guard);
    struct device *device = of(fd);
    int error = device ? answer(device, request, argument) : 0;
    pthread_mutex_unlock(&guard);
    if (!device) return ((int (*)(int, unsigned long, ...))next("ioctl"))(fd, request, argument);
    errno = error;
    return error ? -1 : 0;
}

/* Ready when a frame is due, and when there is an error to fetch. */
static long long ready_in(struct device *device) {
    int is_over = device->at == device->event_count && !device->loops;
    if (device->is_gone || (is_over && device->ends)) return 0;
    if (is_over || device->queued == 0) return -1;
    long long left = device->due - now();
    return left > 0 ? left : 0;
}

int poll(struct pollfd *entries, nfds_t count, int wait) {
    pthread_mutex_lock(&guard);
    struct device *device = count == 1 ? of(entries[0].fd) : NULL;
    long long left = device ? ready_in(device) : 0;
    pthread_mutex_unlock(&guard);
    if (!device) return ((int (*)(struct pollfd *, nfds_t, int))next("poll"))(entries, count, wait);
    long long most = wait * 1000LL;
    int is_ready = left >= 0 && left <= most;
    usleep(is_ready ? left : most);
    entries[0].revents = is_ready ? POLLIN : 0;
    return is_ready;
}

/* A program that lists /dev sees the devices behind what is there. */
DIR *opendir(const char *path) {
    DIR *opened = ((DIR * (*)(const char *)) next("opendir"))(path);
    if (folder() && strcmp(path, "/dev") == 0) {
        listing = opened;
        listed = 0;
    }
    return opened;
}

struct dirent64 *readdir64(DIR *from) {
    static struct dirent64 entry;
    struct dirent64 *real = ((struct dirent64 * (*)(DIR *)) next("readdir64"))(from);
    if (real || from != listing || !folder()) return real;
    while (listed < MAX_NUMBER) {
        char path[512], name[16];
        snprintf(name, sizeof name, "%d", listed++);
        path_of(path, sizeof path, name);
        if (access(path, F_OK)) continue;
        entry.d_ino = 1;
        entry.d_type = DT_CHR;
        entry.d_reclen = sizeof entry;
        snprintf(entry.d_name, sizeof entry.d_name, "video%s", name);
        return &entry;
    }
    return NULL;
}
