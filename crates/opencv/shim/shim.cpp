#include "shim.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/objdetect.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#if CV_VERSION_MAJOR != 4
#error "the shim is written for OpenCV 4"
#endif

struct lo_detector {
  virtual ~lo_detector() = default;
  virtual void find(const cv::Mat &gray, std::vector<cv::Rect> &boxes, std::vector<double> &weights) = 0;
  cv::Mat scaled;
};

namespace {

/* Windows side by side are put together by the caller, who bounds the work of it. */
constexpr int UNGROUPED = 0;
constexpr double SCALE_STEP = 1.05;
constexpr double CASCADE_SCALE_STEP = 1.1;

struct people : lo_detector {
  people() { hog.setSVMDetector(cv::HOGDescriptor::getDefaultPeopleDetector()); }
  void find(const cv::Mat &gray, std::vector<cv::Rect> &boxes, std::vector<double> &weights) override {
    const cv::Size stride(8, 8), padding(16, 16);
    hog.detectMultiScale(gray, boxes, weights, 0, stride, padding, SCALE_STEP, UNGROUPED);
  }
  cv::HOGDescriptor hog;
};

struct cascade : lo_detector {
  explicit cascade(const std::string &xml) {
    cv::FileStorage file(xml, cv::FileStorage::READ | cv::FileStorage::MEMORY | cv::FileStorage::FORMAT_XML);
    if (!file.isOpened() || !classifier.read(file.getFirstTopLevelNode()) || classifier.empty())
      throw std::runtime_error("this is no cascade of OpenCV 4");
  }
  void find(const cv::Mat &gray, std::vector<cv::Rect> &boxes, std::vector<double> &weights) override {
    cv::equalizeHist(gray, even);
    classifier.detectMultiScale(even, boxes, CASCADE_SCALE_STEP, UNGROUPED);
    weights.assign(boxes.size(), 0);
  }
  cv::CascadeClassifier classifier;
  cv::Mat even;
};

void say(const char *words, char *text, size_t length) {
  if (length == 0) return;
  const size_t count = std::min(std::strlen(words), length - 1);
  std::memcpy(text, words, count);
  text[count] = 0;
}

/* `action`, or `otherwise` with the words of what it throws. */
template <typename Answer, typename Action>
Answer guarded(Answer otherwise, char *text, size_t length, Action action) noexcept {
  say("", text, length);
  try {
    return action();
  } catch (const cv::Exception &error) {
    /* What was checked, which may be a mere name, and where. */
    std::snprintf(text, length, "%s (%s)", error.err.c_str(), error.func.c_str());
  } catch (const std::exception &error) {
    say(error.what(), text, length);
  } catch (...) {
    say("an exception without words", text, length);
  }
  return otherwise;
}

/* Streams run beside each other, each in one thread; what goes wrong is returned and not printed. */
void prepare() {
  static std::once_flag once;
  std::call_once(once, [] {
    cv::setNumThreads(1);
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
  });
}

int64_t find(lo_detector &detector, const lo_gray &gray, double scale, lo_window *windows, size_t room) {
  /* OpenCV takes pixels that it only reads by a pointer to writable ones. */
  const cv::Mat picture(gray.height, gray.width, CV_8UC1, const_cast<uint8_t *>(gray.pixels), gray.stride);
  const cv::Mat *looked_at = &picture;
  if (scale != 1) {
    cv::resize(picture, detector.scaled, cv::Size(), scale, scale, scale < 1 ? cv::INTER_AREA : cv::INTER_LINEAR);
    looked_at = &detector.scaled;
  }
  std::vector<cv::Rect> boxes;
  std::vector<double> weights;
  detector.find(*looked_at, boxes, weights);
  std::vector<size_t> order(boxes.size());
  for (size_t at = 0; at < order.size(); at++) order[at] = at;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return weights[a] > weights[b]; });
  const size_t count = std::min(order.size(), room);
  for (size_t at = 0; at < count; at++) {
    const cv::Rect &box = boxes[order[at]];
    windows[at] = {box.x / scale, box.y / scale, box.width / scale, box.height / scale, weights[order[at]]};
  }
  return static_cast<int64_t>(count);
}

}  // namespace

const char *lo_version(void) { return CV_VERSION; }

lo_detector *lo_open_people(char *text, size_t text_length) {
  return guarded<lo_detector *>(nullptr, text, text_length, [] {
    prepare();
    return static_cast<lo_detector *>(std::make_unique<people>().release());
  });
}

lo_detector *lo_open_cascade(const char *xml, size_t length, char *text, size_t text_length) {
  return guarded<lo_detector *>(nullptr, text, text_length, [&] {
    prepare();
    return static_cast<lo_detector *>(std::make_unique<cascade>(std::string(xml, length)).release());
  });
}

void lo_close(lo_detector *detector) { delete detector; }

int64_t lo_find(lo_detector *detector, const lo_gray *gray, double scale, lo_window *windows, size_t room, char *text,
                size_t text_length) {
  return guarded<int64_t>(-1, text, text_length, [&] { return find(*detector, *gray, scale, windows, room); });
}
