/* What this crate asks of OpenCV: opaque detectors, plain numbers and bytes. No exception leaves the shim: it becomes a
 * negative answer with its words in `text`, which always ends in a zero byte. Every pointer is used during the call only. */
#ifndef LUMENBUS_OPENCV_SHIM_H
#define LUMENBUS_OPENCV_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lo_detector;

struct lo_gray {
  const uint8_t *pixels;
  size_t stride; /* bytes from one row to the next */
  int32_t width, height;
};

/* A window that the detector takes for what it looks for, in pixels of the picture; they may reach beyond it. */
struct lo_window {
  double x, y, width, height;
  double weight; /* distance from the border of the class; 0 of a cascade, which has none */
};

/* Lives as long as the program. */
const char *lo_version(void);

/* Histograms of gradients with the people detector that OpenCV holds. NULL where it fails. */
struct lo_detector *lo_open_people(char *text, size_t text_length);
/* The text of a cascade's XML file. NULL where it fails. */
struct lo_detector *lo_open_cascade(const char *xml, size_t length, char *text, size_t text_length);
void lo_close(struct lo_detector *detector);

/* Looks at the picture `scale` times as large; writes at most `room` windows. Their number, or -1. */
int64_t lo_find(struct lo_detector *detector, const struct lo_gray *gray, double scale, struct lo_window *windows, size_t room,
                char *text, size_t text_length);

#ifdef __cplusplus
}
#endif

#endif
