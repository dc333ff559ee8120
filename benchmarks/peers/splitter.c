/* Cuts complete frames of application/vnd.amazon.eventstream out of bytes: split(data) -> ([(headers, payload)], end).
   Both checksums are compared; a wrong one, or a length that cannot be, raises ValueError. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <zlib.h>

static uint32_t read_u32(const unsigned char *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static PyObject *split(PyObject *module, PyObject *data) {
    if (!PyBytes_Check(data)) {
        PyErr_SetString(PyExc_TypeError, "split takes bytes");
        return NULL;
    }
    const unsigned char *bytes = (const unsigned char *)PyBytes_AS_STRING(data);
    Py_ssize_t size = PyBytes_GET_SIZE(data), at = 0;
    PyObject *frames = PyList_New(0);
    if (frames == NULL) return NULL;
    while (size - at >= 12) {
        const unsigned char *frame = bytes + at;
        uint32_t total = read_u32(frame), headers = read_u32(frame + 4);
        uint32_t crc = crc32(0, frame, 8);
        if (crc != read_u32(frame + 8) || total < 16 || headers > total - 16) {
            PyErr_Format(PyExc_ValueError, "the prelude of the frame at byte %zd is damaged", at);
            goto fail;
        }
        if (total > size - at) break;
        if (crc32(0, frame, total - 4) != read_u32(frame + total - 4)) {
            PyErr_Format(PyExc_ValueError, "the frame at byte %zd is damaged", at);
            goto fail;
        }
        PyObject *pair = Py_BuildValue("(y#y#)", frame + 12, (Py_ssize_t)headers, frame + 12 + headers,
                                       (Py_ssize_t)(total - headers - 16));
        if (pair == NULL) goto fail;
        int failed = PyList_Append(frames, pair);
        Py_DECREF(pair);
        if (failed) goto fail;
        at += total;
    }
    return Py_BuildValue("(Nn)", frames, at);
fail:
    Py_DECREF(frames);
    return NULL;
}

static PyMethodDef methods[] = {{"split", split, METH_O, "Return the complete frames and where they end."}, {0}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "bedrock_async_splitter", NULL, -1, methods};

PyMODINIT_FUNC PyInit_bedrock_async_splitter(void) { return PyModule_Create(&definition); }
