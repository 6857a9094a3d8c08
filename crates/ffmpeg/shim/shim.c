#include "shim.h"

#include <libavcodec/avcodec.h>
#include <libavutil/dict.h>
#include <libavutil/imgutils.h>
#include <libavutil/log.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <string.h>

struct lb_coder {
  AVCodecContext *context;
  AVPacket *packet;
  AVFrame *frame, *converted;
  struct SwsContext *scaler;
};

int32_t lb_has_encoder(const char *library) { return avcodec_find_encoder_by_name(library) != NULL; }

static enum AVCodecID codec_id(int32_t codec) {
  switch (codec) {
    case LB_H264: return AV_CODEC_ID_H264;
    case LB_H265: return AV_CODEC_ID_HEVC;
    case LB_AV1: return AV_CODEC_ID_AV1;
    default: return AV_CODEC_ID_NONE;
  }
}

/* FFmpeg's own AV1 decoder only drives hardware. */
static const AVCodec *find_decoder(int32_t codec) {
  if (codec != LB_AV1) return avcodec_find_decoder(codec_id(codec));
  const AVCodec *found = avcodec_find_decoder_by_name("libdav1d");
  return found ? found : avcodec_find_decoder_by_name("libaom-av1");
}

int32_t lb_has_decoder(int32_t codec) { return find_decoder(codec) != NULL; }

const char *lb_version(void) { return av_version_info(); }

const char *lb_license(void) { return avcodec_license(); }

void lb_error_text(int32_t code, char *text, size_t length) {
  if (av_strerror(code, text, length) < 0 && length > 0) text[0] = 0;
}

void lb_close(struct lb_coder *coder) {
  if (!coder) return;
  avcodec_free_context(&coder->context);
  av_packet_free(&coder->packet);
  av_frame_free(&coder->frame);
  av_frame_free(&coder->converted);
  sws_freeContext(coder->scaler);
  av_free(coder);
}

static struct lb_coder *allocate(const AVCodec *codec) {
  /* What goes wrong is returned; nothing is printed. */
  av_log_set_level(AV_LOG_QUIET);
  struct lb_coder *coder = av_mallocz(sizeof *coder);
  if (!coder) return NULL;
  coder->context = avcodec_alloc_context3(codec);
  coder->packet = av_packet_alloc();
  coder->frame = av_frame_alloc();
  coder->converted = av_frame_alloc();
  if (coder->context && coder->packet && coder->frame && coder->converted) return coder;
  lb_close(coder);
  return NULL;
}

/* Opens the context, or closes everything. */
static struct lb_coder *opened(struct lb_coder *coder, const AVCodec *codec, AVDictionary **options, int32_t *code) {
  *code = avcodec_open2(coder->context, codec, options);
  /* An option that the library does not know would be left out silently. */
  if (*code >= 0 && options && av_dict_count(*options) > 0) *code = AVERROR_OPTION_NOT_FOUND;
  if (*code >= 0) return coder;
  lb_close(coder);
  return NULL;
}

struct lb_coder *lb_open_encoder(const struct lb_settings *settings, int32_t *code) {
  const AVCodec *codec = avcodec_find_encoder_by_name(settings->library);
  *code = codec ? AVERROR(ENOMEM) : AVERROR_ENCODER_NOT_FOUND;
  struct lb_coder *coder = codec ? allocate(codec) : NULL;
  if (!coder) return NULL;
  AVCodecContext *context = coder->context;
  context->width = settings->width;
  context->height = settings->height;
  context->pix_fmt = AV_PIX_FMT_YUV420P;
  context->framerate = (AVRational){settings->rate, settings->rate_base};
  context->time_base = (AVRational){settings->rate_base, settings->rate};
  context->bit_rate = settings->bits_per_second;
  context->gop_size = settings->gop;
  context->max_b_frames = 0;
  context->thread_count = settings->threads;
  context->thread_type = FF_THREAD_SLICE;
  context->flags |= AV_CODEC_FLAG_LOW_DELAY | AV_CODEC_FLAG_CLOSED_GOP;
  context->color_range = settings->is_full_range ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
  context->colorspace = settings->is_bt709 ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
  context->color_primaries = settings->is_bt709 ? AVCOL_PRI_BT709 : AVCOL_PRI_SMPTE170M;
  context->color_trc = settings->is_bt709 ? AVCOL_TRC_BT709 : AVCOL_TRC_SMPTE170M;
  AVDictionary *options = NULL;
  *code = av_dict_parse_string(&options, settings->options, "=", ":", 0);
  if (*code < 0) {
    lb_close(coder);
    coder = NULL;
  } else {
    coder = opened(coder, codec, &options, code);
  }
  av_dict_free(&options);
  return coder;
}

struct lb_coder *lb_open_decoder(int32_t which, int64_t max_pixels, int32_t *code) {
  const AVCodec *codec = find_decoder(which);
  *code = codec ? AVERROR(ENOMEM) : AVERROR_DECODER_NOT_FOUND;
  struct lb_coder *coder = codec ? allocate(codec) : NULL;
  if (!coder) return NULL;
  AVCodecContext *context = coder->context;
  context->max_pixels = max_pixels;
  /* Frame threads hold a picture back for each of them. */
  context->thread_count = 1;
  context->flags |= AV_CODEC_FLAG_LOW_DELAY;
  /* A damaged picture is an error, not a guess. */
  context->err_recognition = AV_EF_BITSTREAM | AV_EF_BUFFER | AV_EF_EXPLODE;
  context->error_concealment = 0;
  context->time_base = context->pkt_timebase = (AVRational){1, 90000};
  return opened(coder, codec, NULL, code);
}

void lb_forget(struct lb_coder *coder) { avcodec_flush_buffers(coder->context); }

int32_t lb_encode(struct lb_coder *coder, const uint8_t *i420, size_t length, int64_t ticket, int32_t is_keyframe) {
  AVFrame *frame = coder->frame;
  const AVCodecContext *context = coder->context;
  av_frame_unref(frame);
  frame->format = AV_PIX_FMT_YUV420P;
  frame->width = context->width;
  frame->height = context->height;
  if (av_image_get_buffer_size(AV_PIX_FMT_YUV420P, frame->width, frame->height, 1) != (int64_t)length) return AVERROR(EINVAL);
  int code = av_frame_get_buffer(frame, 0);
  if (code < 0) return code;
  uint8_t *planes[4];
  int strides[4];
  code = av_image_fill_arrays(planes, strides, i420, AV_PIX_FMT_YUV420P, frame->width, frame->height, 1);
  if (code < 0) return code;
  av_image_copy(frame->data, frame->linesize, (const uint8_t **)planes, strides, AV_PIX_FMT_YUV420P, frame->width,
                frame->height);
  frame->pts = ticket;
  frame->color_range = context->color_range;
  frame->colorspace = context->colorspace;
  frame->color_primaries = context->color_primaries;
  frame->color_trc = context->color_trc;
  frame->pict_type = is_keyframe ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
  code = avcodec_send_frame(coder->context, frame);
  av_frame_unref(frame);
  return code;
}

static int32_t received(int code) {
  if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return 0;
  return code < 0 ? code : 1;
}

int32_t lb_next_packet(struct lb_coder *coder, struct lb_packet *packet) {
  av_packet_unref(coder->packet);
  int32_t code = received(avcodec_receive_packet(coder->context, coder->packet));
  if (code != 1) return code;
  packet->bytes = coder->packet->data;
  packet->length = coder->packet->size;
  packet->ticket = coder->packet->pts;
  packet->is_keyframe = (coder->packet->flags & AV_PKT_FLAG_KEY) != 0;
  return 1;
}

int32_t lb_decode(struct lb_coder *coder, const uint8_t *bytes, size_t length, int64_t ticket) {
  AVPacket *packet = coder->packet;
  av_packet_unref(packet);
  if (length == 0) return avcodec_send_packet(coder->context, NULL);
  if (length > INT32_MAX - AV_INPUT_BUFFER_PADDING_SIZE) return AVERROR(EINVAL);
  /* A copy: decoders read some bytes beyond the end. */
  int code = av_new_packet(packet, (int)length);
  if (code < 0) return code;
  memcpy(packet->data, bytes, length);
  packet->pts = packet->dts = ticket;
  code = avcodec_send_packet(coder->context, packet);
  av_packet_unref(packet);
  return code;
}

static int is_rgb(const AVFrame *frame) {
  const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(frame->format);
  return format && (format->flags & AV_PIX_FMT_FLAG_RGB) != 0;
}

int32_t lb_next_picture(struct lb_coder *coder, struct lb_picture *picture) {
  AVFrame *frame = coder->frame;
  av_frame_unref(frame);
  int32_t code = received(avcodec_receive_frame(coder->context, frame));
  if (code != 1) return code;
  if ((frame->flags & AV_FRAME_FLAG_CORRUPT) || frame->decode_error_flags) return AVERROR_INVALIDDATA;
  int is_bt601 = frame->colorspace == AVCOL_SPC_SMPTE170M || frame->colorspace == AVCOL_SPC_BT470BG;
  int is_jpeg = frame->format == AV_PIX_FMT_YUVJ420P || frame->format == AV_PIX_FMT_YUVJ422P || frame->format == AV_PIX_FMT_YUVJ444P;
  int is_said = frame->color_range != AVCOL_RANGE_UNSPECIFIED;
  picture->ticket = frame->pts;
  picture->width = frame->width;
  picture->height = frame->height;
  picture->is_full_range = is_jpeg ? 1 : is_said ? frame->color_range == AVCOL_RANGE_JPEG : -1;
  picture->is_bt709 = frame->colorspace == AVCOL_SPC_BT709 ? 1 : is_bt601 ? 0 : -1;
  if (is_rgb(frame)) {
    /* As `convert` makes it. */
    picture->is_full_range = 1;
    picture->is_bt709 = 0;
  }
  return 1;
}

/* Any other format becomes I420 of 8 bits without a change of range, RGB by BT.601; in rows with padding, which the scaler may write to. */
static int convert(struct lb_coder *coder) {
  AVFrame *frame = coder->frame, *made = coder->converted;
  av_frame_unref(made);
  made->format = AV_PIX_FMT_YUV420P;
  made->width = frame->width;
  made->height = frame->height;
  int code = av_frame_get_buffer(made, 0);
  if (code < 0) return code;
  coder->scaler = sws_getCachedContext(coder->scaler, frame->width, frame->height, frame->format, frame->width, frame->height,
                                       AV_PIX_FMT_YUV420P, SWS_BILINEAR | SWS_ACCURATE_RND, NULL, NULL, NULL);
  if (!coder->scaler) return AVERROR(ENOSYS);
  const int *table = sws_getCoefficients(SWS_CS_ITU601);
  /* The same range on both sides leaves the samples as they are. */
  sws_setColorspaceDetails(coder->scaler, table, 1, table, 1, 0, 1 << 16, 1 << 16);
  int rows = sws_scale(coder->scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height, made->data,
                       made->linesize);
  return rows == frame->height ? 0 : AVERROR_EXTERNAL;
}

int32_t lb_pixels(struct lb_coder *coder, uint8_t *i420, size_t length) {
  const AVFrame *frame = coder->frame;
  uint8_t *planes[4];
  int strides[4];
  if (av_image_get_buffer_size(AV_PIX_FMT_YUV420P, frame->width, frame->height, 1) != (int64_t)length) return AVERROR(EINVAL);
  int code = av_image_fill_arrays(planes, strides, i420, AV_PIX_FMT_YUV420P, frame->width, frame->height, 1);
  if (code < 0) return code;
  if (frame->format != AV_PIX_FMT_YUV420P && frame->format != AV_PIX_FMT_YUVJ420P) {
    code = convert(coder);
    if (code < 0) return code;
    frame = coder->converted;
  }
  av_image_copy(planes, strides, (const uint8_t **)frame->data, frame->linesize, AV_PIX_FMT_YUV420P, frame->width,
                frame->height);
  return 0;
}
