# Top-down heatmap keypoints with SE-ResNet-50 at 384x288; mmpose's recipe for ResNet-50.
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-384x288.py',
    '../_base_/backbones/pose_se-r50.py',
]
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
