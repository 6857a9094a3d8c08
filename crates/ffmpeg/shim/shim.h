/* What this crate asks of FFmpeg: opaque coders, plain numbers and bytes. FFmpeg's own structures, whose layout differs
 * between its versions, stay on the other side. Every pointer is used during the call only, unless it says otherwise. */
#ifndef LUMENBUS_FFMPEG_SHIM_H
#define LUMENBUS_FFMPEG_SHIM_H

#include <stddef.h>
#include <stdint.h>

struct lb_coder;

struct lb_settings {
  const char *library;   /* name of the encoder */
  const char *options;   /* its own options, "name=value:name=value" */
  int32_t width, height;
  int32_t rate, rate_base; /* frames per second = rate / rate_base */
  int64_t bits_per_second;
  int32_t gop, threads;
  int32_t is_full_range, is_bt709;
};

struct lb_picture {
  int64_t ticket;
  int32_t width, height;
  int32_t is_full_range; /* -1: not said */
  int32_t is_bt709;      /* -1: not said */
};

struct lb_packet {
  const uint8_t *bytes; /* until the next call with this coder */
  size_t length;
  int64_t ticket;
  int32_t is_keyframe;
};

enum lb_codec { LB_H264 = 0, LB_H265 = 1, LB_AV1 = 2 };

int32_t lb_has_encoder(const char *library);
int32_t lb_has_decoder(int32_t codec);
/* Both live as long as the program. */
const char *lb_version(void);
const char *lb_license(void);
void lb_error_text(int32_t code, char *text, size_t length);

/* NULL with *code set where it does not open. */
struct lb_coder *lb_open_encoder(const struct lb_settings *settings, int32_t *code);
struct lb_coder *lb_open_decoder(int32_t codec, int64_t max_pixels, int32_t *code);
void lb_close(struct lb_coder *coder);
/* Forgets everything; of a decoder only. */
void lb_forget(struct lb_coder *coder);

/* i420: tightly packed, of exactly the encoder's size. 0, or FFmpeg's error. */
int32_t lb_encode(struct lb_coder *coder, const uint8_t *i420, size_t length, int64_t ticket, int32_t is_keyframe);
/* 1: a packet, 0: none yet, below 0: an error. */
int32_t lb_next_packet(struct lb_coder *coder, struct lb_packet *packet);

/* length 0: the stream's end. */
int32_t lb_decode(struct lb_coder *coder, const uint8_t *bytes, size_t length, int64_t ticket);
/* 1: a picture, whose pixels lb_pixels gives; 0: none yet, below 0: an error. */
int32_t lb_next_picture(struct lb_coder *coder, struct lb_picture *picture);
/* The picture of the last lb_next_picture as packed I420 of 8 bits; length must be exactly what its size takes. */
int32_t lb_pixels(struct lb_coder *coder, uint8_t *i420, size_t length);

#endif
