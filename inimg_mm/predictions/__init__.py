"""What a model predicted, in the forms that other tools read.

| a data sample has | written |
| --- | --- |
| boxes, masks | COCO's detection results: a list of ``image_id, category_id, bbox, score, segmentation`` |
| keypoints | COCO's keypoint results: a list of ``image_id, category_id, keypoints, score, bbox`` |
| a class | ``classes``, and of each image its path, size, label, class and all scores |
| a class map | ``classes``, and of each image its path, size, PNG of labels, and pixels of each class |

COCO's results say nothing of the images. ``x.images.json`` stands beside ``x.json`` and does: COCO's
annotation format without annotations, with each image's id, path and size, and the categories. Numbers
that are not finite, as a model that diverged predicts them, are null.
"""

from .forms import FORMS, Form, form_of
from .records import Image, Record, Scoring, Subject, image_of, images_file

__all__ = ['FORMS', 'Form', 'Image', 'Record', 'Scoring', 'Subject', 'form_of', 'image_of', 'images_file']
